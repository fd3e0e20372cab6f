"""Running mean: every position gets the average of itself and its past.

Definition::

    y_t = (x_0 + ... + x_t) / (t + 1)

As a triangle `y = wei @ x`, row t of `wei` is 1/(t+1) up to the diagonal and 0 after it.

Contract (all forms take and return exactly this)::

    x          [B, T, C]   float64, float32, bfloat16 or float16; any strides, any size, 0 too
    state      (total [B, C] float64, count [B] int64)   what came before x; default nothing
    documents  [B, T] int64 or int32 ids that never decrease: positions average their own document
    ->         y [B, T, C] in the dtype of x, with strides that may differ from form to form, state

The state belongs to the first document of a row when a call begins, and to the last one when it
ends. Two calls joined by the state equal one call. Every form adds up in float64 and rounds once,
to the dtype of x. The state stays float64, so a stream in bfloat16 loses nothing between calls.
On a device that has no float64 (MPS) sums and state are float32. Autocast has no effect. A sum
above the largest number of its dtype is infinite, except in `matrix` and `softmax`, which divide
first.

NaN and infinity in x reach every later position. They reach *earlier* ones in `matrix` and
`softmax`, and in `chunk` inside one chunk, because zero times NaN is NaN; in these forms they reach
other documents too. `loop`, `scan`, `step` and `fused` read neither later positions nor other
documents.

Reading order: loop, matrix, softmax, scan, chunk, step, shard, fused, weights. Source: Karpathy,
"Let's build GPT" (2023), the mathematical trick in self-attention.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..algebra import firsts
from ..algebra import scan as prefixes
from ..algebra.segments import restarted_sums
from ..card import Mixer, Weights
from ..comm import Piece, shared
from ..contract import FINE, Contract
from ..errors import FormError, StateError
from ..kernels import ops
from ..shapes import chunk_size, readable
from ..sharding import Group


class State(NamedTuple):
    """What a call knows of all earlier positions."""

    total: Tensor  # [B, C] float64 (float32 on MPS), the sum of everything so far
    count: Tensor  # type: ignore[assignment]  # [B] int64, how many positions; hides tuple.count


CONTRACT = Contract(
    "mean", x="B T C",
    state=dict(total=("B C", FINE), count=("B", torch.int64)), made=State,
)  # fmt: skip


def loop(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """The definition: the mean of `x[b, :t+1]` for every b and t.

    Args:
        x: [B, T, C] the sequence, floating point.
        state: of an earlier call, `State(total [B, C] float64, count [B] int64)`; None: none.
        documents: [B, T] ids that never decrease; only positions of one id are averaged. None is
            one document for each row.

    Returns:
        y: [B, T, C], in the dtype of x.
        state: after the last position, of its document; pass it to the next call.

    Raises:
        ShapeError, DtypeError, StateError, DocumentError: one line that names the argument and
            what to do.

    Cost: time O(B T^2 C), memory O(T C) beyond the output, B T steps in sequence.
    Numerics: each mean is added up in float64 and rounded once to the dtype of x.
    Under `torch.func.vmap`, map x too if you map the state: y is written into a clone of x.

    >>> y, state = loop(torch.tensor([[[2.0], [4.0], [9.0]]]))
    >>> y.flatten().tolist()  # 2/1, (2 + 4)/2, (2 + 4 + 9)/3
    [2.0, 3.0, 5.0]
    >>> loop(torch.tensor([[[1.0]]]), state)[0].item()  # (15 + 1)/4
    4.0
    >>> packed = torch.tensor([[0, 0, 1]])
    >>> loop(torch.tensor([[[2.0], [4.0], [9.0]]]), documents=packed)[0].flatten().tolist()
    [2.0, 3.0, 9.0]
    """
    (total, count), first = _start("mean.loop", x, state, documents)
    B, T, _ = x.shape
    xbow = x.clone()  # [B, T, C], every entry is replaced
    after = []
    for b in range(B):
        row = x[b].to(total.dtype)  # [T, C], once, so that gradients add up in it too
        sums, n = total[b], count[b]
        for t in range(T):
            xprev, before, length = row[: t + 1], total[b], count[b] + t + 1
            if first is not None:
                since, place = first[b, t], torch.arange(t + 1, device=x.device)
                xprev = xprev.masked_fill((place < since)[:, None], 0)
                before = before.masked_fill(since > 0, 0)
                length = count[b].masked_fill(since > 0, 0) + t + 1 - since
            sums, n = before + torch.sum(xprev, 0), length
            xbow[b, t] = sums / n
        after.append((sums, n))
    if not after:
        return xbow, State(total, count)
    return xbow, State(*(torch.stack(parts) for parts in zip(*after, strict=True)))


def matrix(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """A lower-triangular matrix of ones, each row divided by its number of ones, times x.

    Cost: time O(B T^2 C), memory O(B T^2).
    """
    held, first = _start("mean.matrix", x, state, documents)
    total, length = _before(held, first, x.shape[1])
    wei = _own(first, x).to(total.dtype) / length[..., None]  # [B, T, T]
    y = wei @ x.to(total.dtype) + total / length[..., None]
    return y.to(x.dtype), _after(x, held, first)


def softmax(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """Attention with every score zero: the future masked with -inf, rows normalised by softmax.

    The state is one more column whose score is the logarithm of its count.

    Cost: time O(B T^2 C), memory O(B T^2).
    """
    held, first = _start("mean.softmax", x, state, documents)
    B, T, _ = x.shape
    fine = held.total.dtype
    score = torch.zeros(T, T, dtype=fine, device=x.device)
    score = score.masked_fill(~_own(first, x), -torch.inf)
    old = held.count.to(fine).log()[:, None].expand(B, T)
    old = old if first is None else old.masked_fill(first > 0, -torch.inf)
    wei = torch.cat([old[..., None], score.expand(B, T, T)], -1).softmax(-1)  # [B, T, 1 + T]
    past = held.total / held.count.clamp(min=1)[:, None]  # [B, C], the mean that the state holds
    y = wei @ torch.cat([past[:, None], x.to(fine)], 1)
    return y.to(x.dtype), _after(x, held, first)


def scan(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """Prefix sums of x over prefix counts; with documents, an associative scan that resets.

    Cost: work O(B T C), memory O(B T C), depth O(log T) where prefix sums run in parallel.
    """
    held, first = _start("mean.scan", x, state, documents)
    total, length = _before(held, first, x.shape[1])
    exact = x.to(total.dtype)
    sums = exact.cumsum(1) if first is None else _restarted(exact, first)
    return ((sums + total) / length[..., None]).to(x.dtype), _after(x, held, first)


def chunk(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, size: int = 64
) -> tuple[Tensor, State]:
    """A triangle of ones inside each chunk of `size` positions; the sum is passed between chunks.

    Cost: time O(B T size C), memory O(B T C + B size^2), T / size steps in sequence.
    """
    held, first = _start("mean.chunk", x, state, documents)
    chunk_size("mean.chunk", size)
    y = [x[:, :0].to(held.total.dtype)]
    for start in range(0, x.shape[1], size):
        block, here = x[:, start : start + size], None
        if first is not None:
            here = (first[:, start : start + size] - start).clamp(min=0)
            new = first[:, start] == start if start else first[:, start] < 0
            held = State(held.total.masked_fill(new[:, None], 0), held.count.masked_fill(new, 0))
        total, length = _before(held, here, block.shape[1])
        sums = total + _own(here, block).to(total.dtype) @ block.to(total.dtype)  # [B, n, C]
        y.append(sums / length[..., None])
        held = _after(block, held, here)
    return torch.cat(y, 1).to(x.dtype), held  # autocast would cast it again


def step(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """One position at a time, as a stream delivers them: add, count, divide.

    Cost: time O(C) and memory O(C) per position and row, for ever.
    """
    (total, count), first = _start("mean.step", x, state, documents)
    y = []
    for t, now in enumerate(x.unbind(1)):  # [B, C]
        if first is not None:
            new = first[:, t] == t if t else first[:, t] < 0  # the state enters position 0
            total, count = total.masked_fill(new[:, None], 0), count.masked_fill(new, 0)
        total, count = total + now, count + 1
        y.append(total / count[:, None])
    return torch.stack(y, 1).to(x.dtype) if y else x.clone(), State(total, count)


@shared
def shard(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    group: Group | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Each rank of a group has a piece of time; the ranks join the sums and counts of their pieces.

    Cost: that of the best form for each piece, and time O(B T C) for its sum; each rank sends
    O(B C log(ranks)) numbers.
    """
    piece = Piece("mean.shard", CONTRACT, (x,), state, documents, group)
    _start("mean.shard", x, state, None)

    def segment() -> tuple[Tensor, Tensor, Tensor]:
        return piece.kept, *MIXER.local(x, State(*piece.nothing), documents)[1]

    def before() -> State:
        return State(*piece.entering(restarted_sums, piece.held, segment))

    return piece.resumed(lambda given, *more: MIXER.local(*given, *more), before)


def fused(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> tuple[Tensor, State]:
    """One compiled pass that reads x once and writes y once; its backward is another.

    Cost: time O(B T C), bound by memory; memory O(B C) beyond the output, and one number for
    each piece where a small batch is cut along time for threads.
    """
    (total, count), first = _start("mean.fused", x, state, documents)
    if why := ops.obstacle(x):
        raise FormError(f"mean.fused: x {why} take form='scan'")
    y, total = ops.prefix_mean(x, total, count, first)
    if first is None:
        return y, State(total, count + x.shape[1])
    return y, State(total, _after(x[..., :0], State(total[:, :0], count), first).count)


def weights(x: Tensor, state: State | None = None, documents: Tensor | None = None) -> Weights:
    """The triangle of the running mean: the weight of every position for every position.

    Args:
        x: [B, T, C], of which only the shape matters: the weights of a mean are the same for all x.
        state: of an earlier call; its count lowers the weights of each row.
        documents: [B, T] ids; the weight of another document is 0.

    Returns:
        wei: [B, T, T], row = the position that reads, column = the position read.
        carried: [B, T, C], what the state adds to each position; zero without a state.

    `y = wei @ x + carried`. Without a state each row of `wei` adds up to 1.

    Raises:
        ShapeError, DtypeError, StateError, DocumentError: as for every form.

    Cost: memory O(B T^2).

    >>> weights(torch.zeros(1, 2, 1)).wei.tolist()
    [[[1.0, 0.0], [0.5, 0.5]]]
    """
    held, first = _start("mean.weights", x, state, documents)
    total, length = _before(held, first, x.shape[1])
    share = 1 / length.to(total.dtype)[..., None]  # [B, T, 1]
    wei, carried = _own(first, x).to(total.dtype) * share, (total * share).expand(x.shape)
    return Weights(wei.to(x.dtype), carried.to(x.dtype))


def _own(first: Tensor | None, x: Tensor) -> Tensor:
    """[T, T] or [B, T, T] bool: row t is true from the beginning of its document to itself."""
    place = torch.arange(x.shape[1], device=x.device)
    past = place[:, None] >= place
    return past if first is None else past & (place >= first[..., None])


def _before(held: State, first: Tensor | None, T: int) -> tuple[Tensor, Tensor]:
    """What the state adds to every sum, [B, T, C] or [B, 1, C], and the counts [B, T]."""
    total, count = held
    place = torch.arange(1, T + 1, device=count.device)
    if first is None:
        return total[:, None], count[:, None] + place
    other = first > 0  # [B, T], the state is of another document
    total = total[:, None].expand(-1, T, -1).masked_fill(other[..., None], 0)
    return total, count[:, None].expand(-1, T).masked_fill(other, 0) + place - first


def _after(x: Tensor, held: State, first: Tensor | None) -> State:
    """The state after the last position, of its document alone."""
    (total, count), T = held, x.shape[1]
    if first is None or not T:
        return State(total + x.to(total.dtype).sum(1), count + T)
    since = first[:, -1:]  # [B, 1]
    strange = torch.arange(T, device=x.device) < since  # [B, T]
    sums = x.to(total.dtype).masked_fill(strange[..., None], 0).sum(1)
    total, count = total.masked_fill(since > 0, 0), count.masked_fill(since[:, 0] > 0, 0)
    return State(total + sums, count + T - since[:, 0])


def _restarted(x: Tensor, first: Tensor) -> Tensor:
    """Prefix sums [B, T, C] that start again from 0 with every document."""
    place = torch.arange(x.shape[1], device=x.device)
    goes_on = (first < place)[..., None]  # [B, T, 1]

    return prefixes(_join, (goes_on, x))[1]


def _join(earlier: tuple[Tensor, Tensor], later: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    (on, sums), (goes, more) = earlier, later
    return on & goes, more + sums.masked_fill(~goes, 0)


def _start(
    where: str, x: Tensor, state: State | None, documents: Tensor | None
) -> tuple[State, Tensor | None]:
    """Check the contract; return the state to start from and where each document began."""
    held, new, _ = CONTRACT.start(where, (x,), state, documents)
    first = None if new is None else firsts(new)
    if state is None:
        return held, first
    total, count = held
    if readable(total, count) and count.numel() and (least := int(count.min())) < 1:
        if least < 0:
            raise StateError(
                f"{where}: count is {least}, but positions are counted from 0; "
                "give the state that an earlier call returned"
            )
        if bool(total[count == 0].any()):
            raise StateError(f"{where}: total is not 0 where count is 0; start from state=None")
    return State(total, count), first


def _best(x: Tensor, *_others: object, **_named: object) -> str:
    """`fused` where its kernel runs (a CPU) and `scan` elsewhere; for a single position `step`.

    One position costs less as three torch operations than as one launch of a kernel.
    """
    if CONTRACT.length(x) == 1:
        return "step"
    return ops.form(x, "scan")


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
    contract=CONTRACT,
    forms=dict(
        loop=loop,
        matrix=matrix,
        softmax=softmax,
        scan=scan,
        chunk=chunk,
        step=step,
        shard=shard,
        fused=fused,
    ),
    absent={},
    best=_best,
    weights=weights,
    draw=draw,
)
