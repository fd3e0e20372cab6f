"""Running mean: every position gets the average of itself and its past.

Definition::

    y_t = (x_0 + ... + x_t) / (t + 1)

As a triangle `y = wei @ x`, row t of `wei` is 1/(t+1) up to the diagonal and 0 after it.

Contract (all forms take and return exactly this)::

    x      [B, T, C]   float64, float32, bfloat16 or float16; any strides, any size, 0 too
    state  (total [B, C] float64, count [B] int64)   what came before x; default nothing
    ->     y [B, T, C] in the dtype of x, with strides that may differ from form to form, state

Two calls joined by the state equal one call. Every form adds up in float64 and rounds once, to
the dtype of x; the state stays float64, so that a stream in bfloat16 loses nothing between calls.
Autocast changes none of it. Sums of float64 beyond its maximum are infinite, except in `matrix` and
`softmax`, which divide first.

NaN and infinity in x reach every later position. They reach *earlier* ones in `matrix` and
`softmax`, and in `chunk` inside one chunk, where a weight of zero times NaN is NaN; `loop`, `scan`,
`step` and `fused` never read the future and keep it out.

Reading order: loop, matrix, softmax, scan, chunk, step, fused, weights. Source: Karpathy, "Let's
build GPT" (2023), the mathematical trick in self-attention.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..card import Mixer
from ..errors import FormError, ShapeError, StateError
from ..kernels import ops
from ..shapes import bind, exactly, floating, readable, what


class State(NamedTuple):
    """What the past leaves behind."""

    total: Tensor  # [B, C] float64, the sum of everything so far
    count: Tensor  # type: ignore[assignment]  # [B] int64, how many positions; hides tuple.count


class Weights(NamedTuple):
    """The triangle, and the column of the state: `y = wei @ x + past * (total / count)`."""

    wei: Tensor  # [B, T, T] lower-triangular, row = the position that reads
    past: Tensor  # [B, T, 1] the share of the mean that the state holds


def loop(x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """The definition: the mean of `x[b, :t+1]` for every b and t.

    Args:
        x: [B, T, C] the sequence, floating point.
        state: what came before x, `State(total [B, C] float64, count [B] int64)`; None is nothing.

    Returns:
        y: [B, T, C], in the dtype of x.
        state: the same after the last position; give it to the next call.

    Raises:
        ShapeError, DtypeError, StateError: one line that names the argument and what to do.

    Cost: time O(B T^2 C), memory O(T C) beyond the output, B T steps in sequence.
    Numerics: each mean is added up in float64 and rounded once to the dtype of x.
    Under `torch.func.vmap` map x wherever the state is mapped: y is written into a clone of x.

    >>> y, state = loop(torch.tensor([[[2.0], [4.0], [9.0]]]))
    >>> y.flatten().tolist()  # 2/1, (2 + 4)/2, (2 + 4 + 9)/3
    [2.0, 3.0, 5.0]
    >>> loop(torch.tensor([[[1.0]]]), state)[0].item()  # (15 + 1)/4
    4.0
    """
    total, count = _start("mean.loop", x, state)
    B, T, _ = x.shape
    xbow = x.clone()  # [B, T, C], every entry is replaced
    for b in range(B):
        row = x[b].double()  # [T, C], once, so that gradients add up in float64 too
        for t in range(T):
            xprev = row[: t + 1]  # [t + 1, C]
            xbow[b, t] = (total[b] + torch.sum(xprev, 0)) / (count[b] + t + 1)
    return xbow, State(total + x.double().sum(1), count + T)


def matrix(x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """A lower-triangular matrix of ones, its rows divided by their length, times x.

    Cost: time O(B T^2 C), memory O(B T^2).
    """
    total, count = _start("mean.matrix", x, state)
    T = x.shape[1]
    length = count[:, None] + torch.arange(1, T + 1, device=x.device)  # [B, T]
    wei = torch.ones(T, T, dtype=torch.float64, device=x.device).tril() / length[..., None]
    y = wei @ x.double() + total[:, None] / length[..., None]
    return y.to(x.dtype), State(total + x.double().sum(1), count + T)


def softmax(x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """Attention with every score zero: the future masked with -inf, rows normalised by softmax.

    The state is one more column whose score is the logarithm of its count.

    Cost: time O(B T^2 C), memory O(B T^2).
    """
    total, count = _start("mean.softmax", x, state)
    B, T, _ = x.shape
    future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
    score = torch.zeros(T, T, dtype=torch.float64, device=x.device)
    score = score.masked_fill(future, -torch.inf)
    old = count.double().log()[:, None, None].expand(B, T, 1)
    wei = torch.cat([old, score.expand(B, T, T)], -1).softmax(-1)  # [B, T, 1 + T]
    past = total / count.clamp(min=1)[:, None]  # [B, C], the mean that the state holds
    y = wei @ torch.cat([past[:, None], x.double()], 1)
    return y.to(x.dtype), State(total + x.double().sum(1), count + T)


def scan(x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """Prefix sums of x over prefix counts.

    Cost: work O(B T C), memory O(B T C), depth O(log T) where prefix sums run in parallel.
    """
    total, count = _start("mean.scan", x, state)
    T = x.shape[1]
    sums = total[:, None] + x.double().cumsum(1)  # [B, T, C]
    length = count[:, None] + torch.arange(1, T + 1, device=x.device)  # [B, T]
    return (sums / length[..., None]).to(x.dtype), State(total + x.double().sum(1), count + T)


def chunk(x: Tensor, state: State | None = None, *, size: int = 64) -> tuple[Tensor, State]:
    """A small triangle of ones inside each chunk of `size` positions, the sum carried between.

    Cost: time O(B T size C), memory O(B T C + size^2), T / size steps in sequence.
    """
    total, count = _start("mean.chunk", x, state)
    if not isinstance(size, int) or size < 1:
        raise ShapeError(
            f"mean.chunk: size is {size!r}, expected a whole number of positions, at least 1"
        )
    ones = torch.ones(size, size, dtype=torch.float64, device=x.device).tril()
    place = torch.arange(1, size + 1, device=x.device)
    y = [x[:, :0].double()]
    for block in x.split(size, 1) if x.shape[1] else ():
        n = block.shape[1]
        sums = total[:, None] + ones[:n, :n] @ block.double()  # [B, n, C]
        length = count[:, None] + place[:n]  # [B, n]
        y.append(sums / length[..., None])
        total, count = total + block.double().sum(1), count + n
    return torch.cat(y, 1).to(x.dtype), State(total, count)  # autocast would touch what is cast


def step(x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """One position at a time, as a stream delivers them: add, count, divide.

    Cost: time O(C) and memory O(C) per position and row, for ever.
    """
    total, count = _start("mean.step", x, state)
    y = []
    for now in x.unbind(1):  # [B, C]
        total, count = total + now, count + 1
        y.append(total / count[:, None])
    return torch.stack(y, 1).to(x.dtype) if y else x.clone(), State(total, count)


def fused(x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """One compiled pass that reads x once and writes y once; its backward is another.

    Cost: time O(B T C), bound by memory; memory O(B C) beyond the output.
    """
    total, count = _start("mean.fused", x, state)
    if x.device.type not in ops.DEVICES:
        raise FormError(
            f"mean.fused: x is on {x.device}, the kernel runs on {' '.join(ops.DEVICES)}; "
            "move x, or take form='scan'"
        )
    y, total = ops.prefix_mean(x, total, count)
    return y, State(total, count + x.shape[1])


def weights(x: Tensor, state: State | None = None) -> Weights:
    """The triangle of the running mean: what every position takes from every position.

    Args:
        x: [B, T, C], of which only the shape matters: the weights of a mean are the same for all x.
        state: what came before x; its count takes its share of each row.

    Returns:
        wei: [B, T, T], row = the position that reads, column = the position read.
        past: [B, T, 1], what each row takes of the mean that the state holds.

    A row of `past` and `wei` together adds up to 1.

    Raises:
        ShapeError, DtypeError, StateError: as for every form.

    Cost: memory O(B T^2).

    >>> weights(torch.zeros(1, 2, 1)).wei.tolist()
    [[[1.0, 0.0], [0.5, 0.5]]]
    """
    _, count = _start("mean.weights", x, state)
    T = x.shape[1]
    length = count[:, None] + torch.arange(1, T + 1, device=x.device)  # [B, T]
    share = 1 / length.double()[..., None]  # [B, T, 1]
    wei = torch.ones(T, T, dtype=torch.float64, device=x.device).tril() * share
    return Weights(wei.to(x.dtype), (count[:, None, None] * share).to(x.dtype))


def _start(where: str, x: Tensor, state: State | None) -> State:
    """Check the contract and return the state to start from."""
    if state is None:
        size = bind(where, x=(x, "B T C"))
        floating(where, x=x)
        total = x.new_zeros(size["B"], size["C"], dtype=torch.float64)
        return State(total, x.new_zeros(size["B"], dtype=torch.int64))
    if not isinstance(state, tuple) or len(state) != 2:
        raise StateError(
            f"{where}: state is {what(state)}, expected the pair (total [B, C], count [B]) "
            "that an earlier call returned"
        )
    total, count = state
    bind(where, x=(x, "B T C"), total=(total, "B C"), count=(count, "B"))
    floating(where, x=x)
    exactly(where, torch.float64, x, total=total)
    exactly(where, torch.int64, x, count=count)
    if readable(total, count) and count.numel() and (least := int(count.min())) < 1:
        if least < 0:
            raise StateError(
                f"{where}: count is {least}, but positions are counted from 0; "
                "give the state that an earlier call returned"
            )
        if bool(total[count == 0].any()):
            raise StateError(f"{where}: total is not 0 where count is 0; start from state=None")
    return State(total, count)


def _best(x: Tensor, *_state: object, **_named: object) -> str:
    """`fused` where its kernel runs (a CPU, any floating dtype), `scan` elsewhere; but for one
    position `step`.

    One position costs less as three torch operations than as one launch of a kernel.
    """
    if isinstance(x, Tensor) and x.ndim == 3 and x.shape[1] == 1:
        return "step"
    return "fused" if not isinstance(x, Tensor) or x.device.type in ops.DEVICES else "scan"


def draw(
    *, B: int = 2, T: int = 13, C: int = 3, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor]:
    """Random valid arguments of `loop`, time on axis 1.

    >>> draw(B=1, T=2, C=3)[0].shape
    torch.Size([1, 2, 3])
    """
    rng = torch.Generator().manual_seed(seed)
    return (torch.randn(B, T, C, generator=rng, dtype=torch.float64).to(dtype),)


MIXER = Mixer(
    name="mean",
    forms=dict(
        loop=loop,
        matrix=matrix,
        softmax=softmax,
        scan=scan,
        chunk=chunk,
        step=step,
        fused=fused,
    ),
    absent=dict(shard="there is no transport between processes yet"),
    best=_best,
    weights=weights,
    draw=draw,
)
