"""Selective scan: every channel writes into N memories, whose decays follow from its time steps.

Definition, for one channel c and its memories n; before the first position h is the state::

    h_t[n] = exp(dt_t A[n]) h_{t-1}[n] + dt_t B_t[n] x_t
    y_t    = C_t[0] h_t[0] + ... + C_t[N-1] h_t[N-1] + D x_t

As a triangle `y = wei @ x`, one for each channel: wei[t, s] is dt_s times the sum over n of
C_t[n] B_s[n] exp((dt_{s+1} + ... + dt_t) A[n]), and D more on the diagonal. For T = 3, N = 1 and no
state, with a = exp(dt A)::

    C0 B0 dt0 + D
    C1 B0 dt0 a1        C1 B1 dt1 + D
    C2 B0 dt0 a1 a2     C2 B1 dt1 a2      C2 B2 dt2 + D

Contract (all forms take and return exactly this)::

    x, dt      [B, T, C]  inputs, and time steps after softplus; nothing is added or made positive
    A          [C, N]     rates of decay per unit of time: A <= 0 forgets, A > 0 grows
    B, C       [B, T, N]  how much is written into each memory, and read; shared by all channels
    D          [C] or None, what passes by
    state      [B, C, N]  what came before; default zero
    documents  [B, T]     int64 or int32 ids that never decrease; nothing passes between them
    ->         y [B, T, C] in the dtype of x, state

Sequences are float64, float32, bfloat16 or float16, all of one dtype; dt, A and D may stay float32
beside halves. Any strides, any size, 0 too. `dt` may differ from channel to channel. The gate
silu(z) of Mamba's layer, the bias and the softplus of dt stay outside. The state belongs to the
first document of a row when a call begins, and to the last one when it ends. Two calls joined by
the state equal one call.

Everything is computed in float32, and in float64 for float64. The state has the same dtype.
Autocast has no effect. Decays are multiplied, and the logarithms of them only ever added up from
one position to a later one, so nothing is clamped and a strong decay is exact. With dt > 0 and
A = -inf every position forgets all earlier ones; with dt A > 0 the memory grows, and is infinite
beyond the largest number of its dtype. dt = 0 leaves the memory as it is.

NaN and infinity reach every later position of their row and channel, and in B and C every channel.
They stop at the border of a document in `loop`, `step` and `fused`; in `scan`, `chunk` and
`matrix` they pass it, because zero times NaN is NaN, and in `matrix` and, inside one chunk, `chunk`
they reach earlier positions as well.

Reading order: loop, matrix, scan, chunk, step, shard, fused, weights. Source: Gu and Dao, "Mamba"
(2023), arXiv:2312.00752. Also known as S6, selective_scan; with fixed dt, B and C it is S4D.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..algebra import fade, faded
from ..algebra import scan as prefixes
from ..algebra.segments import faded_sums, kept
from ..card import Mixer, Weights
from ..comm import Piece, shared
from ..contract import WIDE, Contract
from ..errors import FormError
from ..kernels import ops
from ..shapes import chunk_size, unmixed
from ..sharding import Group

State = Tensor
"""The memories after a position: [B, C, N], float64 for float64 sequences, else float32."""

CONTRACT = Contract(
    "selective", x="B T C", dt="B T C", A="C N", B="B T N", C="B T N", D=("C", None),
    state=dict(state=("B C N", WIDE)), wide=("dt",),
)  # fmt: skip


class Given(NamedTuple):
    """The arguments in the dtype of the state, named apart from the letters of sizes."""

    x: Tensor  # [B, T, C]
    dt: Tensor  # [B, T, C]
    rates: Tensor  # [C, N]
    writes: Tensor  # [B, T, N]
    reads: Tensor  # [B, T, N]
    skip: Tensor  # [C]
    h: Tensor  # [B, C, N]
    new: Tensor | None  # [B, T], where documents begin


def loop(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """The definition, one position after the other.

    Args:
        x: [B, T, C] the sequence, floating point.
        dt: [B, T, C] time steps, as they are after the softplus.
        A: [C, N] rates of decay.
        B, C: [B, T, N] what is written and read.
        D: [C], how much of x is added to y; None is zero.
        state: [B, C, N] of an earlier call; None is zero.
        documents: [B, T] ids that never decrease; a new id is an empty memory. None is one document
            for each row.

    Returns:
        y: [B, T, C], in the dtype of x.
        state: [B, C, N] after the last position; pass it to the next call.

    Raises:
        ShapeError, DtypeError, DocumentError: one line that names the argument and what to do.

    Cost: time O(B T C N), memory O(B C N) beyond the output, T steps in sequence.
    Numerics: float32, or float64 for float64; y is rounded once to the dtype of x.

    >>> one = torch.ones(1, 3, 1)
    >>> A = torch.tensor([[0.5]]).log()  # with dt = 1 half of the memory is left
    >>> y, state = loop(one, one, A, one, one)
    >>> y.flatten().tolist()  # 1, then 1/2 + 1, then 3/4 + 1
    [1.0, 1.5, 1.75]
    >>> loop(one, one, A, one, one, torch.tensor([10.0]), state)[0].flatten().tolist()
    [11.875, 11.9375, 11.96875]
    >>> loop(one, one, A, one, one, documents=torch.tensor([[0, 0, 1]]))[0].flatten().tolist()
    [1.0, 1.5, 1.0]
    """
    given = _start("selective.loop", x, dt, A, B, C, D, state, documents)
    y, h = [], given.h
    for t in range(x.shape[1]):
        now, length = given.x[:, t], given.dt[:, t]
        if given.new is not None:
            h = h.masked_fill(given.new[:, t, None, None], 0)
        written = (length * now)[..., None] * given.writes[:, t, None]  # [B, C, N]
        h = (length[..., None] * given.rates).exp() * h + written
        y.append((h * given.reads[:, t, None]).sum(-1) + given.skip * now)
    return torch.stack(y, 1).to(x.dtype) if y else x.clone(), h


def matrix(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One T x T triangle for each channel, one memory after the other, and its product with x.

    Cost: time O(B C T^2 N), memory O(B C T^2).
    """
    given = _start("selective.matrix", x, dt, A, B, C, D, state, documents)
    if not x.shape[1]:
        return x.clone(), given.h
    wei, carried, left, kept = _triangle(given)
    with unmixed(x):
        y = torch.einsum("bcts,bsc->btc", wei, given.x) + carried
        after = torch.einsum("bcsn,bsc->bcn", left, given.x) + kept * given.h
    return y.to(x.dtype), after


def scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Parallel prefixes of the maps h -> a h + b, which join to a map of the same kind.

    Cost: work O(B T C N), memory O(B T C N), depth O(log T).
    """
    given = _start("selective.scan", x, dt, A, B, C, D, state, documents)
    if not x.shape[1]:
        return x.clone(), given.h
    y, h = _prefixed(given, slice(None), given.h)
    return y.to(x.dtype), h


def chunk(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *, size: int = 64,
) -> tuple[Tensor, State]:  # fmt: skip
    """Parallel prefixes inside each chunk of `size` positions; the memory is passed on.

    Cost: work O(B T C N), memory O(B size C N) beyond the output, T / size times log(size) steps.
    """
    given = _start("selective.chunk", x, dt, A, B, C, D, state, documents)
    chunk_size("selective.chunk", size)
    y, h = [x[:, :0].to(given.h.dtype)], given.h
    for start in range(0, x.shape[1], size):
        part, h = _prefixed(given, slice(start, start + size), h)
        y.append(part)
    return torch.cat(y, 1).to(x.dtype), h


def step(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One position at a time, as a decoder delivers them: fade, write, read.

    Cost: time O(C N) and memory O(C N) for each position and row.
    """
    given = _start("selective.step", x, dt, A, B, C, D, state, documents)
    y, h = [], given.h
    sequences = (given.x, given.dt, given.writes, given.reads)
    for t, (now, length, write, read) in enumerate(
        zip(*(s.unbind(1) for s in sequences), strict=True)
    ):
        if given.new is not None:
            h = h.masked_fill(given.new[:, t, None, None], 0)
        new = (length * now)[..., None] * write[:, None]
        h = torch.addcmul(new, (length[..., None] * given.rates).exp(), h)  # [B, C, N]
        y.append(torch.addcmul((h * read[:, None]).sum(-1), given.skip, now))
    return torch.stack(y, 1).to(x.dtype) if y else x.clone(), h


@shared
def shard(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *, group: Group | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Each rank of a group has a piece of time; the ranks join what pieces do to the memories.

    Cost: twice that of the best form for each piece; each rank sends O(B C N log(ranks)) numbers.
    """
    piece = Piece("selective.shard", CONTRACT, (x, dt, A, B, C, D), state, documents, group)
    (held,) = piece.held

    def segment() -> tuple[Tensor, Tensor]:
        length = dt.to(held.dtype).sum(1)[..., None]  # [B, C, 1]
        left = (length * A.to(held.dtype)).exp() if x.shape[1] else torch.ones_like(held)
        _, sums = MIXER.local(x, dt, A, B, C, None, torch.zeros_like(held), documents)
        return left.masked_fill(~kept(piece.new, x)[:, None, None], 0), sums

    return piece.resumed(
        lambda given, *more: MIXER.local(*given, *more),
        lambda: piece.entering(faded_sums, piece.held, segment)[0],
    )


def fused(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One compiled pass over the positions; the memories stay in the nearest cache.

    Cost: time O(B T C N), memory O(N) for each thread beyond the output.
    """
    h, new, _ = CONTRACT.start("selective.fused", (x, dt, A, B, C, D), state, documents)
    if why := ops.obstacle(x):
        raise FormError(f"selective.fused: x {why} take form='chunk'")
    D = h.new_zeros(x.shape[2]) if D is None else D
    return ops.selective_scan(x, dt, A, B, C, D, h, new)


def weights(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> Weights:  # fmt: skip
    """The exact triangle of each channel: the weight of every position for every position.

    Args:
        x, dt, A, B, C, D, state, documents: as for every form; of x only the shape matters.

    Returns:
        wei: [B, C, T, T], row = the position that reads, column = the position read. Weights have
            either sign, and D is on the diagonal.
        carried: [B, T, C], what the state adds to each position; zero without a state.

    For each channel y is `wei @ x + carried`; `weights(...).on(x)` does it for all at once.

    Raises:
        ShapeError, DtypeError, DocumentError: as for every form.

    Cost: memory O(B C T^2).

    >>> one = torch.ones(1, 2, 1)
    >>> weights(one, one, torch.tensor([[0.5]]).log(), one, one).wei.tolist()
    [[[[1.0, 0.0], [0.5, 1.0]]]]
    """
    given = _start("selective.weights", x, dt, A, B, C, D, state, documents)
    wei, carried, *_ = _triangle(given)
    return Weights(wei.to(x.dtype), carried.to(x.dtype))


def _triangle(given: Given) -> tuple[Tensor, ...]:
    """The triangle of each channel [B, C, T, T], what the state adds to y [B, T, C], and of the
    last memories: the weight of each position [B, C, T, N], and that of the state [B, C, N].
    """
    T = given.x.shape[1]
    one = torch.eye(T, dtype=given.h.dtype, device=given.h.device)
    wei = (given.skip[:, None, None] * one).expand(*given.h.shape[:2], T, T)
    carried = torch.zeros_like(given.x)
    left, kept = [given.h[:, :, None, :0].expand(-1, -1, T, 0)], [given.h[..., :0]]  # N may be 0
    for n in range(given.rates.shape[1]):
        g = given.dt * given.rates[:, n]
        g = (g if given.new is None else g.masked_fill(given.new[..., None], -torch.inf)).mT
        read = given.reads[:, :, n, None]  # [B, T, 1]
        wrote = (given.dt * given.writes[:, :, n, None]).mT[:, :, None]  # [B, C, 1, T]
        decays, old = fade(g) * wrote, faded(g)
        wei = wei + decays * read[:, None]
        carried = carried + read * old.mT * given.h[:, None, :, n]
        left.append(decays[:, :, -1:].mT)
        kept.append(old[..., -1:])
    return wei, carried, torch.cat(left, -1), torch.cat(kept, -1)


def _prefixed(given: Given, now: slice, h: Tensor) -> tuple[Tensor, Tensor]:
    """y of some positions, by the memories after each of them, [B, n, C, N]; and the last."""
    x, dt, reads = given.x[:, now], given.dt[:, now], given.reads[:, now]
    keeps = (dt[..., None] * given.rates).exp()
    if given.new is not None:
        keeps = keeps.masked_fill(given.new[:, now, None, None], 0)
    keeps, sums = prefixes(_join, (keeps, (dt * x)[..., None] * given.writes[:, now, None]))
    after = sums + keeps * h[:, None]
    return (after * reads[:, :, None]).sum(-1) + given.skip * x, after[:, -1]


def _join(f: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return then[0] * f[0], then[0] * f[1] + then[1]


def _start(
    where: str, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    state: State | None, documents: Tensor | None,
) -> Given:  # fmt: skip
    """Check the contract; return the arguments in the dtype of the state."""
    h, new, _ = CONTRACT.start(where, (x, dt, A, B, C, D), state, documents)
    skip = h.new_zeros(x.shape[2]) if D is None else D.to(h.dtype)
    x, dt, A, B, C = (t.to(h.dtype) for t in (x, dt, A, B, C))
    return Given(x, dt, A, B, C, skip, h, new)


def _best(x: Tensor, *_others: object, **_named: object) -> str:
    """`fused` where its kernel runs (a CPU, any floating dtype, any size), `chunk` elsewhere."""
    return ops.form(x, "chunk")


def draw(
    *, B: int = 2, T: int = 13, C: int = 3, N: int = 4, seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Random valid arguments of `loop`, time on axis 1: x, dt, A, B, C and D.

    >>> [list(t.shape) for t in draw(B=1, T=2, C=3, N=4)]
    [[1, 2, 3], [1, 2, 3], [3, 4], [1, 2, 4], [1, 2, 4], [3]]
    """
    rng = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    softplus = torch.nn.functional.softplus
    x, dt, A = normal(B, T, C), softplus(normal(B, T, C) - 1), -softplus(normal(C, N))
    given = x, dt, A, normal(B, T, N), normal(B, T, N) / max(N, 1) ** 0.5, normal(C)
    return tuple(t.to(dtype) for t in given)


MIXER = Mixer(
    contract=CONTRACT,
    forms=dict(
        loop=loop, matrix=matrix, scan=scan, chunk=chunk, step=step, shard=shard, fused=fused
    ),
    absent=dict(
        softmax="its weights are signed and their rows add up to no constant, as a softmax must",
    ),
    best=_best,
    weights=weights,
    draw=draw,
)
