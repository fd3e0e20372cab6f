"""The running mean as other libraries compute it, each in the way and the layout it is best at.

What is laid out or built beforehand is not timed, to the peer's advantage.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import bottleneck
import numbagg
import numpy as np
import pandas
import polars
import torch
from inputs import cumsum_over_n
from torch import Tensor

BTC = "[B, T, C]"
TIME_LAST = "[B, C, T], time contiguous"


@dataclass(frozen=True)
class Peer:
    """A way to compute the running mean.

    Attributes:
        name: the call.
        layout: of what it is given.
        way: the call itself.
        answer: from its result to a tensor [B, T, C].
        asked: how many times faster ours is asked to be.
    """

    name: str
    layout: str
    way: Callable[[], Any]
    answer: Callable[[Any], Tensor]
    asked: float = 1


def every(x: Tensor) -> list[Peer]:
    """All peers for one x [B, T, C] float32."""
    return [*of_torch(x), *of_numpy(x), *of_frames(x), *of_windows(x), *of_triangles(x)]


def error(peer: Peer, ours: Tensor, x: Tensor) -> float:
    """The largest difference between the peer's answer and ours.

    Raises:
        SystemExit: one that adding t + 1 numbers up in the dtype of x, one after the other, does
            not explain: (t + 1) eps times the running mean of |x|, and three roundings more.
    """
    apart = (peer.answer(peer.way()).double() - ours.double()).abs()
    allowed = bound(x)
    if not bool((apart <= allowed).all()):
        worst = float((apart / allowed).nan_to_num(torch.inf).max())
        raise SystemExit(f"refused to time {peer.name}: its answer is {worst:.1f} bounds from ours")
    return float(apart.max())


def bound(x: Tensor) -> Tensor:
    """What a plain sum in the dtype of x may be wrong by, for each running mean."""
    n = _counts(x).double()
    return (n + 3) * torch.finfo(x.dtype).eps * x.double().abs().cumsum(1) / n


def of_torch(x: Tensor) -> Iterator[Peer]:
    n, time_last = _counts(x), x.mT.contiguous()
    compiled = torch.compile(cumsum_over_n)
    yield Peer("torch.cumsum(x, 1) / n", BTC, lambda: cumsum_over_n(x, n), _same, 12)
    yield Peer("torch.compile of the same", BTC, lambda: compiled(x, n), _same, 12)
    yield Peer("torch.cumsum(x, -1) / n", TIME_LAST, lambda: time_last.cumsum(-1) / n.mT, _back)


def of_numpy(x: Tensor) -> Iterator[Peer]:
    a, n = x.numpy(), _counts(x).numpy()
    turned, turned_n = np.ascontiguousarray(a.swapaxes(1, 2)), n.T
    y, turned_y = np.empty_like(a), np.empty_like(turned)
    yield Peer("numpy.cumsum(x, 1) / n", BTC, lambda: np.cumsum(a, axis=1) / n, torch.from_numpy)
    yield Peer("numpy, preallocated", BTC, lambda: _into(a, n, 1, y), torch.from_numpy)
    turned_way = lambda: _into(turned, turned_n, 2, turned_y)
    yield Peer("numpy, preallocated, time contiguous", TIME_LAST, turned_way, _turned)


def of_frames(x: Tensor) -> Iterator[Peer]:
    """One column for each row and channel, T values long."""
    B, T, C = x.shape
    columns = x.mT.reshape(B * C, T).contiguous().numpy()
    frame = pandas.DataFrame(columns.T)
    threads = dict(nopython=True, nogil=True, parallel=True)

    def with_numba() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a cast inside pandas
            return frame.expanding().mean(engine="numba", engine_kwargs=threads)

    def from_pandas(found: Any) -> Tensor:
        return torch.tensor(found.to_numpy()).T.reshape(B, C, T).mT

    table = polars.DataFrame({str(i): column for i, column in enumerate(columns)})
    table = table.with_columns(polars.Series("n", np.arange(1, T + 1, dtype=columns.dtype)))
    mean = polars.exclude("n").cum_sum() / polars.col("n")
    yield Peer(
        "pandas expanding().mean()", TIME_LAST, lambda: frame.expanding().mean(), from_pandas
    )
    yield Peer("pandas, engine numba, parallel", TIME_LAST, with_numba, from_pandas)
    yield Peer("polars cum_sum() / n", TIME_LAST, lambda: table.select(mean), from_pandas)


def of_windows(x: Tensor) -> Iterator[Peer]:
    """A moving mean whose window is the whole length."""
    T, a = x.shape[1], x.mT.contiguous().numpy()
    how = dict(window=T, min_count=1)
    yield Peer("numbagg.move_mean", TIME_LAST, lambda: numbagg.move_mean(a, **how), _turned)
    yield Peer("bottleneck.move_mean", TIME_LAST, lambda: bottleneck.move_mean(a, **how), _turned)


def of_triangles(x: Tensor) -> Iterator[Peer]:
    """The notebook's two other ways, in float32. The triangle `wei` is built beforehand."""
    T = x.shape[1]
    wei = torch.ones(T, T).tril() / torch.arange(1, T + 1)[:, None]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)

    def softmax() -> Tensor:
        return torch.zeros(T, T).masked_fill(future, -torch.inf).softmax(-1) @ x

    yield Peer("wei @ x", BTC, lambda: wei @ x, _same)
    yield Peer("softmax(scores masked with -inf) @ x", BTC, softmax, _same)


def _counts(x: Tensor) -> Tensor:
    """1, 2, 3 ... [T, 1] in the dtype of x."""
    return torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]


def _into(a: np.ndarray, n: np.ndarray, axis: int, y: np.ndarray) -> np.ndarray:
    np.cumsum(a, axis=axis, out=y)
    return np.divide(y, n, out=y)


def _same(found: Tensor) -> Tensor:
    return found


def _back(found: Tensor) -> Tensor:
    return found.mT


def _turned(found: np.ndarray) -> Tensor:
    return torch.from_numpy(found).mT
