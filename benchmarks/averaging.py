"""The exponential moving average beside pandas, numbagg, a scan of torch, and a copy."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numbagg
import numpy as np
import pandas
import torch
from beside import growth as over_time
from beside import halves
from table import Table, at_least, proven, rows
from torch import Tensor
from torch._higher_order_ops.associative_scan import associative_scan

import trilby
from trilby.bench import interleaved
from trilby.bench.forms import call

OURS, COPY = "trilby.ema(x, 0.9)", "out.copy_(x)"
SHAPE, A = (8, 4096, 512), 0.9


def forward(quick: bool) -> Table:
    """Ours beside every peer; each one's answer is compared with ours before it is timed."""
    x = _drawn(quick)
    out, y = torch.empty_like(x), trilby.ema(x, A)[0]
    ways: dict[str, Callable[[], Any]] = {OURS: lambda: trilby.ema(x, A)}
    told = {}
    for name, (way, answer) in _peers(x).items():
        apart = float((answer(way()).double() - y.double()).abs().max())
        if not apart <= 1e-4:
            raise SystemExit(f"refused to time {name}: its answer is {apart:.1e} from ours")
        ways[name], told[name] = way, {"largest difference from ours": apart}
    told[OURS] = {"largest difference from ours": 0.0}
    ways[COPY], told[COPY] = lambda: out.copy_(x), {"largest difference from ours": None}
    verdicts = proven(trilby.ema, (x, torch.full((x.shape[2],), A)))
    timings = interleaved(ways, rounds=2 if quick else 5, warmup=1)
    targets = [at_least("speed of a copy", 0.6, timings.times(OURS, COPY))]
    targets += [
        at_least(f"times faster than {n}", 1, timings.times(OURS, n))
        for n in ways
        if n not in (OURS, COPY)
    ]
    return Table(
        "Exponential moving average, forward", _setup(x, timings.rounds),
        rows(timings, OURS, told=told), targets, verdicts,
    )  # fmt: skip


def backward(quick: bool) -> Table:
    """Forward and backward beside torch's scan; nothing was asked for."""
    x = _drawn(quick)
    a, dy, out = torch.full((x.shape[2],), A), torch.randn_like(x), torch.empty_like(x)
    ways = {
        "trilby.ema(x, a)": call(trilby.ema, (x, a), dy),
        'form="scan"': call(trilby.ema.scan, (x, a), dy),
        COPY: lambda: out.copy_(x),
    }
    verdicts = proven(trilby.ema, (x, a), dy)
    timings = interleaved(ways, rounds=2 if quick else 3, warmup=1)
    title = "Exponential moving average, forward and backward, gradients of x and a"
    made = rows(timings, "trilby.ema(x, a)")
    return Table(title, _setup(x, timings.rounds), made, [], verdicts)


def brain(quick: bool) -> Table:
    """bfloat16 and float16 against float32."""
    drawn = lambda dtype: (_drawn(quick).to(dtype), torch.full((32 if quick else SHAPE[2],), A))
    return halves("The same in halves", trilby.ema, drawn, quick)


def growth(quick: bool) -> Table:
    """Time against T."""
    return over_time("Growth with T", trilby.ema, dict(C=64), quick)


def _drawn(quick: bool) -> Tensor:
    return torch.randn(*((2, 64, 32) if quick else SHAPE))


def _setup(x: Tensor, rounds: int) -> str:
    return f"x {list(x.shape)}, a = {A}, {rounds} rounds in turn, medians."


def _peers(x: Tensor) -> dict[str, tuple[Callable[[], Any], Callable[[Any], Tensor]]]:
    """Each in the layout that it is best at, which is made beforehand; and its answer as ours."""
    B, T, C = x.shape
    columns = np.ascontiguousarray(x.mT.reshape(B * C, T).numpy())
    frame, alphas = pandas.DataFrame(columns.T), np.full(T, 1 - A, columns.dtype)
    average = frame.ewm(alpha=1 - A, adjust=False)
    scan = partial(_scanned, x)
    compiled = torch.compile(scan)
    back = lambda found: torch.tensor(np.asarray(found)).T.reshape(B, C, T).mT
    turned = lambda found: torch.from_numpy(found).reshape(B, C, T).mT
    debiased = lambda: numbagg.move_exp_nanmean(columns, alpha=alphas)
    return {
        "pandas ewm(adjust=False).mean()": (average.mean, back),
        "numbagg.move_exp_nanmean (debiased)": (debiased, partial(_biased, turned, x)),
        "torch associative_scan": (scan, lambda found: found),
        "torch associative_scan, compiled": (compiled, lambda found: found),
    }


def _biased(turned: Callable[[Any], Tensor], x: Tensor, found: Any) -> Tensor:
    """Ours in place of the debiased average of numbagg, if that is ours with adjust=True."""
    debiased = trilby.ema(x, A, adjust=True)[0]
    torch.testing.assert_close(turned(found), debiased, rtol=1e-4, atol=1e-4)
    return trilby.ema(x, A)[0]


def _scanned(x: Tensor) -> Tensor:
    """Prefixes of the maps h -> a h + b."""

    def join(f: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return f[0] * then[0], then[0] * f[1] + then[1]

    gains = torch.full_like(x, 1 - A)
    gains[:, 0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it is a prototype
        result: Tensor = associative_scan(
            join, (torch.full_like(x, A), gains * x), dim=1, combine_mode="generic"
        )[1]
    return result
