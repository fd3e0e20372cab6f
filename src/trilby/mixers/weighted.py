"""Weighted mean: every position gets an average of its past in which scores say what counts.

Definition, for one channel; the sums run over all positions s <= t::

    y_t = sum of exp(s_s) x_s / sum of exp(s_s)

It is the step from the running mean to attention: with equal scores it is `mean`, and it is softmax
attention for a query that never changes, s_s = q . k_s. As a triangle `y = wei @ x`, row t of `wei`
is the softmax of the scores up to t, and 0 after it. For T = 3 and no state, with e = exp(s)::

    1
    e0/(e0+e1)      e1/(e0+e1)
    e0/(e0+e1+e2)   e1/(e0+e1+e2)   e2/(e0+e1+e2)

Contract (all forms take and return exactly this)::

    x          [B, T, C]   float64, float32, bfloat16 or float16; any strides, any size, 0 too
    s          [B, T, C]   scores, natural logarithms of the weights; may be float32 beside halves
    state      (peak, total, weight)   each [B, C] float64, what came before x; default nothing
    documents  [B, T] int64 or int32 ids that never decrease: positions average their own document
    ->         y [B, T, C] in the dtype of x, state

One of x and s may have G channels instead of C, where G divides C: each is shared by C / G
neighbouring channels, without being copied. A score for all channels is s [B, T, 1].

The state is the largest score so far, and both sums divided by exp(peak). Where the weight is 0
nothing has counted yet, and the peak does not matter. The state belongs to the first document of a
row when a call begins, and to the last one when it ends. Two calls joined by the state equal one
call.

A score may be any number: no exponential of a positive number is ever taken, so nothing overflows,
and adding one number to all scores of a channel changes nothing but rounding. A score of -inf is a
weight of 0. Where all scores so far are -inf, y is 0, and so are its gradients. A score of +inf is
NaN from there on, as in a softmax. Gradients reach x, s and all of the state; where two scores are
the largest, the peak is the earlier one.

Every form computes in float64 and rounds once, to the dtype of x; the state stays float64. On a
device that has no float64 (MPS) both are float32. Autocast has no effect. NaN in x or s reaches
every later position of its row and channel, and in x also with a weight of 0. In `matrix` and
`softmax`, and in `chunk` inside one chunk, NaN in x reaches earlier positions and other documents
as well; in `loop`, `scan`, `step` and `fused` it does not.

Reading order: loop, matrix, softmax, scan, chunk, step, shard, fused, weights. Source: the running
maximum is that of Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018),
arXiv:1805.02867. Also known as AFT-simple (Zhai and others, "An attention free transformer", 2021,
arXiv:2105.14103) before its gate, and as the WKV of RWKV-4 without decay and bonus.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..algebra import scan as prefixes
from ..algebra.peaks import exponentials, finite, joined_peaks, mean
from ..card import Mixer, Weights
from ..comm import Piece, shared
from ..contract import FINE, Contract
from ..errors import FormError, StateError
from ..kernels import ops
from ..shapes import chunk_size, readable
from ..sharding import Group


class State(NamedTuple):
    """What a call knows of all earlier positions: the mean so far is `total / weight`."""

    peak: Tensor  # [B, C] float64 (float32 on MPS), the largest score so far
    total: Tensor  # [B, C] the same, the sum of exp(score - peak) x
    weight: Tensor  # [B, C] the same, the sum of exp(score - peak); 0 before anything has counted


CONTRACT = Contract(
    "weighted", x="B T C", s="B T C", made=State,
    state=dict(peak=("B C", FINE), total=("B C", FINE), weight=("B C", FINE)),
    shared="C", wide=("s",),
)  # fmt: skip


def loop(
    x: Tensor, s: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """The definition, one position after the other, with the largest score taken off all others.

    Args:
        x: [B, T, C] the sequence, floating point, or [B, T, G] for channels that share one.
        s: [B, T, C] the scores, or [B, T, G].
        state: of an earlier call, `State(peak, total, weight)`, each [B, C] float64; None: none.
        documents: [B, T] ids that never decrease; only positions of one id are averaged. None is
            one document for each row.

    Returns:
        y: [B, T, C], in the dtype of x.
        state: after the last position, of its document; pass it to the next call.

    Raises:
        ShapeError, DtypeError, StateError, DocumentError: one line that names the argument and
            what to do.

    Cost: time O(B T C), memory O(B C) beyond the output, T steps in sequence.
    Numerics: float64; y is rounded once to the dtype of x.

    >>> x, s = torch.tensor([[[2.0], [4.0], [9.0]]]), torch.tensor([[[1.0], [1.0], [2.0]]]).log()
    >>> y, state = loop(x, s)
    >>> y.flatten().tolist()  # 2, (2 + 4)/2, (2 + 4 + 2 9)/(1 + 1 + 2)
    [2.0, 3.0, 6.0]
    >>> loop(x[:, :1], s[:, :1], state)[0].item()  # (24 + 2)/(4 + 1)
    5.199999809265137
    >>> loop(x, s, documents=torch.tensor([[0, 0, 1]]))[0].flatten().tolist()
    [2.0, 3.0, 9.0]
    """
    given, scores, (peak, total, weight), new = _start("weighted.loop", x, s, state, documents)
    y = []
    for t in range(x.shape[1]):
        if new is not None:
            total = total.masked_fill(new[:, t, None], 0)
            weight = weight.masked_fill(new[:, t, None], 0)
        x_t, s_t, old = given[:, t], scores[:, t], peak.masked_fill(weight == 0, -torch.inf)
        peak = torch.where(s_t > old, s_t, old)
        peak = peak.masked_fill(peak == -torch.inf, 0)  # nothing has counted yet
        kept, now = (old - peak).exp(), (s_t - peak).exp()
        total, weight = kept * total + now * x_t, kept * weight + now
        nothing = weight == 0
        y.append((total / weight.masked_fill(nothing, 1)).masked_fill(nothing, 0))
    if not y:
        return given.to(x.dtype), State(peak, total, weight)
    return torch.stack(y, 1).to(x.dtype), State(peak, total, weight)


def matrix(
    x: Tensor, s: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """One triangle of exponentials for each channel, its rows divided by their sums, times x.

    Cost: time O(B C T^2), memory O(B C T^2).
    """
    given, scores, held, new = _start("weighted.matrix", x, s, state, documents)
    if not x.shape[1]:
        return given.to(x.dtype), held
    y, after = _block(given, scores, held, new)
    return y.to(x.dtype), after


def softmax(
    x: Tensor, s: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """Attention whose query never changes: scores masked with -inf, rows normalised by softmax.

    The state is one more column: its score is its peak and the logarithm of its weight.

    Cost: time O(B C T^2), memory O(B C T^2).
    """
    given, scores, held, new = _start("weighted.softmax", x, s, state, documents)
    if not x.shape[1]:
        return given.to(x.dtype), held
    seen, old = _seen(scores, held, new)  # [B, C, T, T] and [B, C, T]
    empty = held.weight == 0
    full = held.weight.masked_fill(empty, 1)
    every = torch.cat([old[..., None], seen], -1)
    peak = every.max(-1, keepdim=True).values
    nothing = peak == -torch.inf
    below = every - peak.detach().masked_fill(nothing, 0)  # so that log(weight) is not lost in it
    below = torch.cat([below[..., :1] + full.log()[..., None, None], below[..., 1:]], -1)
    wei = below.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0)  # [B, C, T, 1 + T]
    past = held.total / full  # [B, C], the mean that the state holds
    values = torch.cat([past[:, None], given], 1)
    y = torch.einsum("bcts,bsc->btc", wei, values)
    return y.to(x.dtype), _summed(given, held, seen[:, :, -1:], old[..., -1:])[1]


def scan(
    x: Tensor, s: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """Parallel prefixes of (peak, total, weight), the state before them as one more position.

    Cost: work O(B T C), memory O(B T C), depth O(log T).
    """
    given, scores, held, new = _start("weighted.scan", x, s, state, documents)
    counts = (scores != -torch.inf).to(given.dtype)
    peaks = torch.cat([_peak(held)[:, None], scores], 1)  # [B, 1 + T, C]
    totals = torch.cat([held.total[:, None], counts * given], 1)
    weights = torch.cat([held.weight[:, None], counts], 1)
    goes_on = torch.ones_like(peaks[..., :1], dtype=torch.bool)
    if new is not None:
        goes_on = torch.cat([goes_on[:, :1], ~new[..., None]], 1)
    _, peaks, totals, weights = prefixes(joined_peaks, (goes_on, peaks, totals, weights))
    if not x.shape[1]:
        return given.to(x.dtype), held
    after = State(finite(peaks[:, -1]), totals[:, -1], weights[:, -1])
    return mean(totals[:, 1:], weights[:, 1:]).to(x.dtype), after


def chunk(
    x: Tensor, s: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    size: int = 16,
) -> tuple[Tensor, State]:  # fmt: skip
    """The triangle inside each chunk of `size` positions; peak and sums are passed between chunks.

    Cost: time O(B T size C), memory O(B T C + B C size^2), T / size steps in sequence.
    """
    given, scores, held, new = _start("weighted.chunk", x, s, state, documents)
    chunk_size("weighted.chunk", size)
    y = [given[:, :0]]
    for start in range(0, x.shape[1], size):
        now = slice(start, start + size)
        part, held = _block(
            given[:, now], scores[:, now], held, None if new is None else new[:, now]
        )
        y.append(part)
    return torch.cat(y, 1).to(x.dtype), held


def step(
    x: Tensor, s: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """One position at a time, as a stream delivers them: rescale, add, divide.

    Cost: time O(C) and memory O(C) for each position and row.
    """
    given, scores, (peak, total, weight), new = _start("weighted.step", x, s, state, documents)
    totals, weights = [], []
    for t, (x_t, s_t) in enumerate(zip(given.unbind(1), scores.unbind(1), strict=True)):  # [B, C]
        if new is not None:
            total = total.masked_fill(new[:, t, None], 0)
            weight = weight.masked_fill(new[:, t, None], 0)
        old = _peak(State(peak, total, weight))
        peak = finite(torch.where(s_t > old, s_t, old))
        kept, now = (old - peak).exp(), (s_t - peak).exp()
        total, weight = torch.addcmul(now * x_t, kept, total), torch.addcmul(now, kept, weight)
        totals.append(total)
        weights.append(weight)
    after = State(peak, total, weight)
    if not totals:
        return given.to(x.dtype), after
    return mean(torch.stack(totals, 1), torch.stack(weights, 1)).to(x.dtype), after


@shared
def shard(
    x: Tensor, s: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    group: Group | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Each rank of a group has a piece of time; the ranks join peaks and sums of their pieces.

    Cost: that of the best form, and O(B T C) for sums; each rank sends O(B C log(ranks)) numbers.
    """
    piece = Piece("weighted.shard", CONTRACT, (x, s), state, documents, group)
    _start("weighted.shard", x, s, state, None, spread=False)

    def segment() -> tuple[Tensor, ...]:
        found = MIXER.local(x, s, State(*piece.nothing), documents)[1]
        return piece.kept[:, None], _peak(found), *found[1:]

    def before() -> State:
        held = State(*piece.held)
        peak, *sums = piece.entering(joined_peaks, (_peak(held), *held[1:]), segment)
        return State(finite(peak), *sums)

    return piece.resumed(lambda given, *more: MIXER.local(*given, *more), before)


def fused(
    x: Tensor, s: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """One compiled pass over the positions, with one exponential for each score.

    Its gradient is compiled too. Gradients of gradients and forward mode are torch operations.

    Cost: time O(B T C), memory O(B C) beyond the output; on the way back O(B C + T) a thread.
    """
    x, s, held, new = _start("weighted.fused", x, s, state, documents, spread=False)
    if why := ops.obstacle(x):
        raise FormError(f"weighted.fused: x {why} take form='scan'")
    y, *after = ops.weighted_mean(x, s, *held, new)
    return y, State(*after)


def weights(
    x: Tensor, s: Tensor, state: State | None = None, documents: Tensor | None = None
) -> Weights:
    """The triangle of each channel: the weight of every position for every position.

    Args:
        x, s, state, documents: as for every form; of x only the shape matters.

    Returns:
        wei: [B, C, T, T], row = the position that reads, column = the position read; equal for
            channels that share a score.
        carried: [B, T, C], what the state adds to each position; zero without a state.

    For each channel y is `wei @ x + carried`; `weights(...).on(x)` does it for all at once. Without
    a state each row of `wei` adds up to 1, or to 0 where no position has counted yet.

    Raises:
        ShapeError, DtypeError, StateError, DocumentError: as for every form.

    Cost: memory O(B C T^2).

    >>> weights(torch.zeros(1, 2, 1), torch.tensor([[[1.0], [3.0]]]).log()).wei.tolist()
    [[[[1.0, 0.0], [0.25, 0.75]]]]
    """
    given, scores, held, new = _start("weighted.weights", x, s, state, documents)
    if not x.shape[1]:
        return Weights(x.new_zeros(*held.peak.shape, 0, 0), given.to(x.dtype))
    seen, old = _seen(scores, held, new)
    now, kept, _ = exponentials(seen, old)
    weight = now.sum(-1) + kept * held.weight[..., None]  # [B, C, T]
    wei = mean(now, weight[..., None])
    carried = mean(kept * held.total[..., None], weight).mT
    return Weights(wei.to(x.dtype), carried.to(x.dtype))


def _seen(scores: Tensor, held: State, new: Tensor | None) -> tuple[Tensor, Tensor]:
    """The scores that each position reads, [B, C, T, T], and the peak of the state, [B, C, T].

    What it does not read is -inf: the future, other documents, a state of which nothing counts.
    """
    place = torch.arange(scores.shape[1], device=scores.device)
    hidden = (place[:, None] < place)[None]  # [1, T, T]
    old = _peak(held)[..., None].expand(-1, -1, len(place))
    if new is not None:
        number = new.cumsum(1)  # [B, T], 0 throughout the document that the state enters
        hidden = hidden | (number[:, :, None] != number[:, None])
        old = old.masked_fill((number > 0)[:, None], -torch.inf)
    every = scores.mT[:, :, None].expand(-1, -1, len(place), -1)
    return every.masked_fill(hidden[:, None], -torch.inf), old


def _summed(
    given: Tensor, held: State, seen: Tensor, old: Tensor
) -> tuple[tuple[Tensor, Tensor], State]:
    """Totals and weights [B, n, C] of some rows of the triangle, and the last as a state."""
    now, kept, peak = exponentials(seen, old)
    total = torch.einsum("bcts,bsc->btc", now, given) + (kept * held.total[..., None]).mT
    weight = (now.sum(-1) + kept * held.weight[..., None]).mT
    return (total, weight), State(peak[..., -1], total[:, -1], weight[:, -1])


def _block(given: Tensor, scores: Tensor, held: State, new: Tensor | None) -> tuple[Tensor, State]:
    """y of some positions by their triangle, and the state after them."""
    sums, after = _summed(given, held, *_seen(scores, held, new))
    return mean(*sums), after


def _peak(held: State) -> Tensor:
    """The largest score so far, -inf where nothing has counted."""
    return held.peak.masked_fill(held.weight == 0, -torch.inf)


def _start(
    where: str, x: Tensor, s: Tensor, state: State | None, documents: Tensor | None,
    spread: bool = True,
) -> tuple[Tensor, Tensor, State, Tensor | None]:  # fmt: skip
    """Check the contract; x and s, in full with `spread`, the state, where documents begin."""
    held, new, size = CONTRACT.start(where, (x, s), state, documents)
    if state is not None and readable(held.total, held.weight):
        if not bool((held.weight >= 0).all()) and not bool(held.weight.isnan().any()):
            raise StateError(
                f"{where}: weight is {float(held.weight.min()):g}, but weights are added up from "
                "0; give the state that an earlier call returned"
            )
        if bool(held.total[held.weight == 0].any()):
            raise StateError(f"{where}: total is not 0 where weight is 0; start from state=None")
    if spread:
        C, both = size["C"], [t.to(held.total.dtype) for t in (x, s)]
        x, s = (t if t.shape[2] == C else t.repeat_interleave(C // t.shape[2], 2) for t in both)
    return x, s, held, new


def _best(x: Tensor, *_others: object, **_named: object) -> str:
    """`fused` where its kernel runs (a CPU); elsewhere `step` for one position, else `scan`."""
    return ops.form(x, "step" if CONTRACT.length(x) == 1 else "scan")


def draw(
    *, B: int = 2, T: int = 13, C: int = 3, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Random valid arguments of `loop`, time on axis 1: x, and scores from about -4 to 4.

    >>> [list(t.shape) for t in draw(B=1, T=2, C=3)]
    [[1, 2, 3], [1, 2, 3]]
    """
    rng = torch.Generator().manual_seed(seed)
    x, s = (torch.randn(B, T, C, generator=rng, dtype=torch.float64) for _ in range(2))
    return x.to(dtype), (2 * s).to(dtype)


MIXER = Mixer(
    contract=CONTRACT,
    forms=dict(
        loop=loop, matrix=matrix, softmax=softmax, scan=scan, chunk=chunk, step=step, shard=shard,
        fused=fused,
    ),
    absent={},
    best=_best,
    weights=weights,
    draw=draw,
)  # fmt: skip
