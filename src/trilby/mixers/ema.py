"""Exponential moving average: an average of the past in which older positions fade by `a`.

Definition, for one channel; before the first position h is the state::

    h_t = a h_{t-1} + (1 - a) x_t
    y_t = h_t

Without a state the first position starts the average, h_0 = x_0, as in pandas' `ewm(adjust=False)`.
With `adjust=True` it is pandas' `ewm(adjust=True)`, the debiased average, in which the first
position of a row has no extra weight::

    y_t = (x_t + a x_{t-1} + a^2 x_{t-2} + ...) / (1 + a + a^2 + ...)

As a triangle `y = wei @ x`. For T = 3 and no state, without and with `adjust=True`::

    1                           1
    a     1 - a                 a/(1+a)        1/(1+a)
    a^2   a (1-a)   1 - a       a^2/(1+a+a^2)  a/(1+a+a^2)  1/(1+a+a^2)

Contract (all forms take and return exactly this)::

    x          [B, T, C]   float64, float32, bfloat16 or float16; any strides, any size, 0 too
    a          a number from 0 to 1, or a tensor [C] of such; a may stay float32 beside halves
    state      (total [B, C] float64, weight [B, C] float64)   of an earlier call; default none
    documents  [B, T] int64 or int32 ids that never decrease: positions average their own document
    adjust     False or True, see above
    ->         y [B, T, C] in the dtype of x, state

The alpha of pandas is 1 - a. With a = 1 and `adjust=True` this is the
running mean, with a = 0 it is x. Gradients reach x, the state, and `a` where it is a tensor.

The state belongs to the first document of a row when a call begins, and to the last one when it
ends. Two calls joined by the state equal one call, if both have the same `a` and `adjust`. The
average so far is `total / weight`. `State(h, torch.ones_like(h))` starts from h, and with h = 0
and `adjust=False` this is the filter `scipy.signal.lfilter([1 - a], [1, -a], x)`.

Every form computes in float64 and rounds once, to the dtype of x; the state stays float64. On a
device that has no float64 (MPS) both are float32. Autocast has no effect. NaN and infinity in x
reach every later position of their row and channel. In `matrix`, and in `chunk` inside one chunk,
they reach earlier positions as well. In these forms and in `scan` they reach other documents too;
in `loop` and `step` they do not.

Reading order: loop, matrix, scan, chunk, step, shard, fused, weights. Source: Roberts, "Control
chart tests based on geometric moving averages" (1959); `adjust` after pandas' `ewm`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..algebra import scan as prefixes
from ..algebra.segments import faded_sums
from ..card import Mixer, Weights
from ..comm import Piece, shared
from ..contract import FINE, Contract
from ..errors import FormError, NumberError, StateError
from ..kernels import ops
from ..shapes import chunk_size, readable
from ..sharding import Group


class State(NamedTuple):
    """What a call knows of all earlier positions: the average so far is `total / weight`."""

    total: Tensor  # [B, C] float64 (float32 on MPS), the weighted sum of all positions so far
    weight: Tensor  # [B, C] the same, the sum of these weights; 0 before the first position


CONTRACT = Contract(
    "ema", x="B T C", a=("C", float), adjust=bool, made=State,
    state=dict(total=("B C", FINE), weight=("B C", FINE)),
)  # fmt: skip


def loop(
    x: Tensor, a: Tensor | float,
    state: State | None = None, documents: Tensor | None = None, *, adjust: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """The definition, one position after the other.

    Args:
        x: [B, T, C] the sequence, floating point.
        a: how much of the past is kept, a number from 0 to 1 or a tensor [C].
        state: of an earlier call, `State(total, weight)`, each [B, C] float64; None: none.
        documents: [B, T] ids that never decrease; only positions of one id are averaged. None is
            one document for each row.
        adjust: whether the average is debiased, as in pandas.

    Returns:
        y: [B, T, C], in the dtype of x.
        state: after the last position, of its document; pass it to the next call.

    Raises:
        ShapeError, DtypeError, NumberError, StateError, DocumentError: one line that names the
            argument and what to do.

    Cost: time O(B T C), memory O(B C) beyond the output, T steps in sequence.
    Numerics: float64; y is rounded once to the dtype of x.

    >>> x = torch.tensor([[[2.0], [4.0], [8.0]]])
    >>> loop(x, 0.5)[0].flatten().tolist()  # 2, 2/2 + 4/2, 3/2 + 8/2
    [2.0, 3.0, 5.5]
    >>> loop(x[:, :2], 0.5, adjust=True)[0].flatten().tolist()  # 2, (4 + 2/2) / (1 + 1/2)
    [2.0, 3.3333332538604736]
    >>> loop(x, 0.5, documents=torch.tensor([[0, 0, 1]]))[0].flatten().tolist()
    [2.0, 3.0, 8.0]
    """
    (total, weight), a, new = _start("ema.loop", x, a, state, documents, adjust)
    y = []
    for t in range(x.shape[1]):
        if new is not None:
            total = total.masked_fill(new[:, t, None], 0)
            weight = weight.masked_fill(new[:, t, None], 0)
        gain = torch.where(weight == 0, 1, 1 - a) if not adjust else torch.ones_like(weight)
        total, weight = a * total + gain * x[:, t].to(total.dtype), a * weight + gain
        y.append(total / weight)
    return torch.stack(y, 1).to(x.dtype) if y else x.clone(), State(total, weight)


def matrix(
    x: Tensor, a: Tensor | float,
    state: State | None = None, documents: Tensor | None = None, *, adjust: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """One triangle of powers of `a`, or one for each channel, times the scaled x.

    Cost: time O(B T^2 C), memory O(T^2), C times that if `a` is [C]; B times with documents.
    """
    held, a, new = _start("ema.matrix", x, a, state, documents, adjust)
    gain = _gains(x, a, held, new, adjust)
    total, weight = _sums(x, gain, held, *_powers(a, new, x))
    if not x.shape[1]:
        return x.clone(), held
    return (total / weight).to(x.dtype), State(total[:, -1], weight[:, -1])


def scan(
    x: Tensor, a: Tensor | float,
    state: State | None = None, documents: Tensor | None = None, *, adjust: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """Parallel prefixes of the maps h -> a h + b, for the total and the weight together.

    Cost: work O(B T C), memory O(B T C), depth O(log T).
    """
    held, a, new = _start("ema.scan", x, a, state, documents, adjust)
    if not x.shape[1]:
        return x.clone(), held
    gain = _gains(x, a, held, new, adjust)
    keeps = a.expand(x.shape)
    keeps = keeps if new is None else keeps.masked_fill(new[..., None], 0)

    keeps, total, weight = prefixes(_join, (keeps, gain * x.to(gain.dtype), gain))
    total, weight = total + keeps * held.total[:, None], weight + keeps * held.weight[:, None]
    return (total / weight).to(x.dtype), State(total[:, -1], weight[:, -1])


def _join(f: tuple[Tensor, ...], then: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    keep = then[0]
    return keep * f[0], keep * f[1] + then[1], keep * f[2] + then[2]


def chunk(
    x: Tensor, a: Tensor | float,
    state: State | None = None, documents: Tensor | None = None, *,
    adjust: bool = False, size: int = 64,
) -> tuple[Tensor, State]:  # fmt: skip
    """The triangle inside each chunk of `size` positions; total and weight are passed on.

    Cost: time O(B T size C), memory O(B T C + C size^2), T / size steps in sequence.
    """
    held, a, new = _start("ema.chunk", x, a, state, documents, adjust)
    chunk_size("ema.chunk", size)
    gain, y = _gains(x, a, held, new, adjust), [x[:, :0].to(held.total.dtype)]
    powers = _powers(a, None, x[:, :size])
    for start in range(0, x.shape[1], size):
        now, n = slice(start, start + size), min(size, x.shape[1] - start)
        decays, old = powers[0][..., :n, :n], powers[1][..., :n]
        if new is not None:
            decays, old = _powers(a, new[:, now], x[:, now])
        total, weight = _sums(x[:, now], gain[:, now], held, decays, old)
        y.append(total / weight)
        held = State(total[:, -1], weight[:, -1])
    return torch.cat(y, 1).to(x.dtype), held


def step(
    x: Tensor, a: Tensor | float,
    state: State | None = None, documents: Tensor | None = None, *, adjust: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """One position at a time, as a stream delivers them: fade, add, divide.

    Cost: time O(C) and memory O(C) for each position and row.
    """
    held, a, new = _start("ema.step", x, a, state, documents, adjust)
    gains, y, (total, weight) = _gains(x, a, held, new, adjust), [], held
    for t, (now, gain) in enumerate(zip(x.unbind(1), gains.unbind(1), strict=True)):  # [B, C]
        if new is not None:  # and not a = 0: zero times NaN is NaN
            total = total.masked_fill(new[:, t, None], 0)
            weight = weight.masked_fill(new[:, t, None], 0)
        total = torch.addcmul(gain * now, a, total)
        weight = torch.addcmul(gain, a, weight)
        y.append(total / weight)
    return torch.stack(y, 1).to(x.dtype) if y else x.clone(), State(total, weight)


@shared
def shard(
    x: Tensor, a: Tensor | float,
    state: State | None = None, documents: Tensor | None = None, *,
    adjust: bool = False, group: Group | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Each rank of a group has a piece of time; the ranks join what is left of their pieces.

    Cost: that of the best form for each piece, and time O(B T C) for its sums; each rank sends
    O(B C log(ranks)) numbers.
    """
    piece = Piece("ema.shard", CONTRACT, (x, a, adjust), state, documents, group)
    held, rate, _ = _start("ema.shard", x, a, state, None, adjust)

    def segment() -> tuple[Tensor, Tensor, Tensor]:
        known = held.weight if piece.first else torch.ones_like(held.weight)
        known = known.masked_fill(piece.before.fresh[:, None], 0)
        start = State(torch.zeros_like(held.total), known)
        _, (total, weight) = MIXER.local(x, a, start, documents, adjust=adjust)
        keep = (rate ** x.shape[1]).expand(known.shape)
        keep = keep.masked_fill(~piece.kept[:, None], 0)
        return keep, total, weight - keep * known

    def before() -> State:
        return State(*piece.entering(faded_sums, held, segment))

    return piece.resumed(lambda given, *more: MIXER.local(*given[:2], *more, adjust=adjust), before)


def fused(
    x: Tensor, a: Tensor | float,
    state: State | None = None, documents: Tensor | None = None, *, adjust: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """One compiled pass over the positions, all channels of a position side by side.

    Its gradient is compiled too. Where gradients of gradients or forward mode are wanted, they are
    those of torch operations, position by position.

    Cost: time O(B T C), memory O(B C) beyond the output; on the way back O(B C + T / 16) for each
    thread.
    """
    held, a, new = _start("ema.fused", x, a, state, documents, adjust)
    if why := ops.obstacle(x):
        raise FormError(f"ema.fused: x {why} take form='scan'")
    a = a.expand(x.shape[2])
    y, total, weight = ops.exponential_mean(x, a, held.total, held.weight, new, adjust)
    return y, State(total, weight)


def weights(
    x: Tensor, a: Tensor | float,
    state: State | None = None, documents: Tensor | None = None, *, adjust: bool = False,
) -> Weights:  # fmt: skip
    """The triangle of each channel: the weight of every position for every position.

    Args:
        x, a, state, documents, adjust: as for every form; of x only the shape matters.

    Returns:
        wei: [B, C, T, T], row = the position that reads, column = the position read.
        carried: [B, T, C], what the state adds to each position; zero without a state.

    For each channel y is `wei @ x + carried`; `weights(...).on(x)` does it for all at once. Without
    a state each row of `wei` adds up to 1.

    Raises:
        ShapeError, DtypeError, NumberError, StateError, DocumentError: as for every form.

    Cost: memory O(B C T^2).

    >>> weights(torch.zeros(1, 2, 1), 0.5).wei.tolist()
    [[[[1.0, 0.0], [0.5, 0.5]]]]
    """
    held, a, new = _start("ema.weights", x, a, state, documents, adjust)
    gain = _gains(x, a, held, new, adjust)
    decays, old = _powers(a, new, x)
    _, weight = _sums(x, gain, held, decays, old)
    wei = decays * gain.mT[:, :, None] / weight.mT[..., None]  # [B, C, T, T]
    carried = old.mT * held.total[:, None] / weight
    return Weights(wei.to(x.dtype), carried.to(x.dtype))


def _gains(x: Tensor, a: Tensor, held: State, new: Tensor | None, adjust: bool) -> Tensor:
    """[B, T, C]: by how much every position enters; the first of a row or document by 1."""
    if adjust:
        return torch.ones_like(x, dtype=held.total.dtype)
    first = torch.zeros_like(x, dtype=torch.bool)  # [B, T, C]
    if new is not None:
        first = first | new[..., None]
    fresh = (held.weight == 0)[:, None] | first[:, :1]
    return torch.where(torch.cat([fresh[:, : x.shape[1]], first[:, 1:]], 1), 1, 1 - a)


def _powers(a: Tensor, new: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor]:
    """a^(t-s) for s <= t of one document, [B or 1, C or 1, T, T]; and a^(t+1), of the state."""
    place = torch.arange(x.shape[1], device=x.device)
    apart = place[:, None] - place  # [T, T]
    decays = a[:, None, None] ** apart.clamp(min=0)  # [C or 1, T, T]
    old = a[:, None] ** (place + 1)  # [C or 1, T]
    if new is None:
        return decays.masked_fill(apart < 0, 0)[None], old[None]
    number = new.cumsum(1)  # [B, T], 0 throughout the document that the state enters
    other = (apart < 0) | (number[:, :, None] != number[:, None])  # [B, T, T]
    return decays.masked_fill(other[:, None], 0), old.masked_fill((number > 0)[:, None], 0)


def _sums(
    x: Tensor, gain: Tensor, held: State, decays: Tensor, old: Tensor
) -> tuple[Tensor, Tensor]:
    """The total and the weight after every position, each [B, T, C]."""
    total = torch.einsum("bcts,bsc->btc", decays, gain * x.to(gain.dtype))
    weight = torch.einsum("bcts,bsc->btc", decays, gain)
    return total + old.mT * held.total[:, None], weight + old.mT * held.weight[:, None]


def _start(
    where: str, x: Tensor, a: Tensor | float,
    state: State | None, documents: Tensor | None, adjust: bool,
) -> tuple[State, Tensor, Tensor | None]:  # fmt: skip
    """Check the contract; return the state, a [C or 1] in its dtype, and where documents begin."""
    (total, weight), new, _ = CONTRACT.start(where, (x, a, adjust), state, documents)
    if not isinstance(a, Tensor):
        if not 0 <= a <= 1:
            raise NumberError(f"{where}: a is {a}, expected a number from 0 to 1")
        a = x.new_full((1,), a, dtype=total.dtype)
    elif readable(a) and not bool(((a >= 0) & (a <= 1)).all()):
        wrong = a[~((a >= 0) & (a <= 1))][0].item()
        raise NumberError(f"{where}: a holds {wrong:g}, expected numbers from 0 to 1")
    if state is not None and readable(total, weight) and not bool((weight > 0).all()):
        if not bool((weight >= 0).all()):
            raise StateError(
                f"{where}: weight is {float(weight.min()):g}, but weights are added up from 0; "
                "give the state that an earlier call returned"
            )
        if bool(total[weight == 0].any()):
            raise StateError(f"{where}: total is not 0 where weight is 0; start from state=None")
    return State(total, weight), a.to(total.dtype), new


def _best(x: Tensor, *_others: object, **_named: object) -> str:
    """`fused` where its kernel runs (a CPU); elsewhere `step` for one position, else `scan`."""
    return ops.form(x, "step" if CONTRACT.length(x) == 1 else "scan")


def draw(
    *, B: int = 2, T: int = 13, C: int = 3, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Random valid arguments of `loop`, time on axis 1: x, and an `a` around 0.7 for each channel.

    >>> [list(t.shape) for t in draw(B=1, T=2, C=3)]
    [[1, 2, 3], [3]]
    """
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(B, T, C, generator=rng, dtype=torch.float64)
    a = (1 + torch.randn(C, generator=rng, dtype=torch.float64)).sigmoid()
    return x.to(dtype), a.to(dtype)


MIXER = Mixer(
    contract=CONTRACT,
    forms=dict(
        loop=loop, matrix=matrix, scan=scan, chunk=chunk, step=step, shard=shard, fused=fused
    ),
    absent=dict(
        softmax="its scores would be logarithms of a, and `matrix` says the same without them",
    ),
    best=_best,
    weights=weights,
    draw=draw,
)
