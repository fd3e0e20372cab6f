"""Decay: linear attention with a memory that fades, by one gate for each head and position.

Definition, for one head::

    h_t = exp(g_t) h_{t-1} + k_t v_t^T        h [K, V], before the first position the state or 0
    y_t = h_t^T q_t

As a triangle `y = wei @ v`, wei[t, s] is (q_t . k_s) exp(g_{s+1} + ... + g_t) for s <= t, 0 after
it. For T = 3 and no state, with a = exp(g)::

    q0.k0
    q1.k0 a1        q1.k1
    q2.k0 a1 a2     q2.k1 a2     q2.k2

Contract (all forms take and return exactly this)::

    q, k       [B, T, H, K]  queries and keys; not scaled, scale q yourself
    v          [B, T, H, V]  values
    g          [B, T, H]     natural logarithm of the decay: g <= 0 forgets, g > 0 grows
    state      [B, H, K, V]  what came before; default zero
    documents  [B, T]        int64 or int32 ids that never decrease; nothing passes between them
    ->         y [B, T, H, V] in the dtype of v, state

Sequences are float64, float32, bfloat16 or float16, all of one dtype; g may stay float32 beside
halves. Any strides, any size, 0 too. Some of q, k, v and g may have G heads instead of H, where G
divides H: each of them is shared by H / G neighbouring heads (as grouped values, or the groups of
Mamba-2), without being copied. The state belongs to the first document of a row when a call begins,
and to the last one when it ends. Two calls joined by the state equal one call.

Everything is computed in float32, and in float64 for float64. The state has the same dtype. Its
rounding errors fade with it; where g = 0 it is as exact as a sum in float32. Each step of a stream
reads and writes the whole state, so a state in float64 would be slower. Autocast has no effect.
`g = -inf` is a reset: the past has exactly no effect. With g > 0 the memory grows, and is infinite
beyond the largest number of its dtype; nothing is clamped.

NaN and infinity reach every later position of their row and head. They also pass a reset and the
border of a document, because zero times NaN is NaN. In `matrix`, and in `chunk` inside one chunk,
they reach earlier positions as well.

Reading order: loop, matrix, scan, chunk, step, shard, fused, weights. Source: Dao and Gu,
"Transformers are SSMs" (2024), arXiv:2405.21060. Also known as SSD, simple GLA, and with g constant
as RetNet and Lightning attention; with g = 0 it is linear attention without its normaliser.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..algebra import fade, faded
from ..algebra import scan as prefixes
from ..algebra.segments import faded_sums, fading
from ..card import Mixer, Weights
from ..comm import Piece, shared
from ..contract import WIDE, Contract
from ..errors import FormError
from ..kernels import ops
from ..shapes import chunk_size, unmixed
from ..sharding import Group

State = Tensor
"""The memory after a position: [B, H, K, V], float64 for float64 sequences, else float32."""


CONTRACT = Contract(
    "decay", q="B T H K", k="B T H K", v="B T H V", g="B T H",
    state=dict(state=("B H K V", WIDE)), values="v", shared="H", wide=("g",),
)  # fmt: skip


class Grouped(NamedTuple):
    """The arguments in the dtype of the state, heads as G groups of R; R is 1 where they share."""

    q: Tensor  # [B, T, G, R, K]
    k: Tensor  # [B, T, G, R, K]
    v: Tensor  # [B, T, G, R, V]
    g: Tensor  # [B, T, G, R]
    h: Tensor  # [B, G, R, K, V], R in full


def loop(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """The definition, one position after the other.

    Args:
        q, k: [B, T, H, K] queries and keys, or [B, T, G, K] for groups that share one.
        v: [B, T, H, V] values, or [B, T, G, V].
        g: [B, T, H] natural logarithm of the decay, or [B, T, G].
        state: [B, H, K, V] of an earlier call; None is zero.
        documents: [B, T] ids that never decrease; a new id is a reset. None is one document a row.

    Returns:
        y: [B, T, H, V], in the dtype of v.
        state: [B, H, K, V] after the last position; pass it to the next call.

    Raises:
        ShapeError, DtypeError, DocumentError: one line that names the argument and what to do.

    Cost: time O(B T H K V), memory O(B H K V) beyond the output, T steps in sequence.
    Numerics: float32, or float64 for float64; y is rounded once to the dtype of v.

    >>> one, half = torch.ones(1, 3, 1, 1), torch.full((1, 3, 1), 0.5).log()
    >>> y, state = loop(one, one, one, half)
    >>> y.flatten().tolist()  # 1, then 1/2 + 1, then 3/4 + 1
    [1.0, 1.5, 1.75]
    >>> loop(one, one, one, half, state)[0].flatten().tolist()  # 7/8 + 1, ...
    [1.875, 1.9375, 1.96875]
    >>> loop(one, one, one, half, documents=torch.tensor([[0, 0, 1]]))[0].flatten().tolist()
    [1.0, 1.5, 1.0]
    """
    in_q, in_k, in_v, in_g, h = _start("decay.loop", q, k, v, g, state, documents)
    y = []
    for t in range(q.shape[1]):
        k_t, v_t, a_t = in_k[:, t], in_v[:, t], in_g[:, t].exp()
        h = a_t[..., None, None] * h + k_t[..., :, None] * v_t[..., None, :]  # [B, G, R, K, V]
        y.append((in_q[:, t, ..., None] * h).sum(-2))  # [B, G, R, V]
    read = torch.stack(y, 1) if y else h.new_zeros(h.shape[0], 0, *h.shape[1:3], h.shape[4])
    return read.flatten(2, 3).to(v.dtype), h.flatten(1, 2)


def matrix(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One T x T triangle for each head, scores times decays, and its product with v.

    Cost: time O(B H T^2 (K + V)), memory O(B H T^2).
    """
    q_, k_, v_, g_, h = _start("decay.matrix", q, k, v, g, state, documents)
    if not q.shape[1]:
        return _gathered([], v, h)
    g_ = g_.permute(0, 2, 3, 1)  # [B, G, R, T]
    decays, old = fade(g_), faded(g_)  # [B, G, R, T, T] and [B, G, R, T]
    with unmixed(q):
        wei = torch.einsum("btgrk,bsgrk->bgrts", q_, k_) * decays
        y = torch.einsum("bgrts,bsgrv->btgrv", wei, v_)
        y = y + torch.einsum("btgrk,bgrt,bgrkv->btgrv", q_, old, h)
        new = torch.einsum("bgrs,bsgrk,bsgrv->bgrkv", decays[..., -1, :], k_, v_)
    return _gathered(y.unbind(1), v, new + old[..., -1, None, None] * h)


def scan(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Parallel prefixes of the maps h -> a h + k v^T, which join to a map of the same kind.

    Cost: work O(B T H K V), memory O(B T H K V), depth O(log T).
    """
    q_, k_, v_, g_, h = _start("decay.scan", q, k, v, g, state, documents)
    if not q.shape[1]:
        return _gathered([], v, h)
    a = g_.exp()[..., None, None]  # [B, T, G, R, 1, 1]
    b = (k_[..., :, None] * v_[..., None, :]).expand(-1, -1, *h.shape[1:])

    decays, sums = prefixes(_join, (a, b))
    states = sums + decays * h[:, None]  # [B, T, G, R, K, V]
    return _gathered((q_[..., None] * states).sum(-2).unbind(1), v, states[:, -1])


def _join(f: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return then[0] * f[0], then[0] * f[1] + then[1]


def chunk(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor,
    state: State | None = None, documents: Tensor | None = None, *, size: int = 64,
) -> tuple[Tensor, State]:  # fmt: skip
    """The triangle inside each chunk of `size` positions; the memory is passed between chunks.

    Cost: time O(B T H (size (K + V) + K V)), memory O(B T H V + B H size^2), T / size steps.
    """
    q_, k_, v_, g_, h = _start("decay.chunk", q, k, v, g, state, documents)
    chunk_size("decay.chunk", size)
    y: list[Tensor] = []
    for start in range(0, q.shape[1], size):
        now = slice(start, start + size)
        qs, ks, vs, gs = q_[:, now], k_[:, now], v_[:, now], g_[:, now].permute(0, 2, 3, 1)
        decays, old = fade(gs), faded(gs)  # [B, G, R, n, n] and [B, G, R, n]
        with unmixed(q):
            wei = torch.einsum("btgrk,bsgrk->bgrts", qs, ks) * decays
            read = torch.einsum("btgrk,bgrkv->btgrv", qs, h)
            y += (torch.einsum("bgrts,bsgrv->btgrv", wei, vs)
                  + read * old.permute(0, 3, 1, 2)[..., None]).unbind(1)  # fmt: skip
            kept = ks * decays[..., -1, :].permute(0, 3, 1, 2)[..., None]  # [B, n, G, R, K]
            new = torch.einsum("bsgrk,bsgrv->bgrkv", kept, vs)
        h = new + old[..., -1, None, None] * h
    return _gathered(y, v, h)


def step(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One position at a time, as a decoder delivers them: fade, write, read.

    Cost: time O(H K V) and memory O(H K V) for each position and row.
    """
    *sequences, h = _start("decay.step", q, k, v, g, state, documents)
    y = []
    for q_, k_, v_, g_ in zip(*(x.unbind(1) for x in sequences), strict=True):
        new = k_[..., :, None] * v_[..., None, :]
        h = torch.addcmul(new, g_.exp()[..., None, None], h)  # [B, G, R, K, V]
        y.append((q_[..., None] * h).sum(-2))
    return _gathered(y, v, h)


@shared
def shard(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor,
    state: State | None = None, documents: Tensor | None = None, *, group: Group | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Each rank of a group has a piece of time; the ranks join what their pieces do to the memory.

    Cost: that of the best form for each piece, and time O(T H K V) for its decay and sum; each rank
    sends O(B H K V log(ranks)) numbers.
    """
    piece = Piece("decay.shard", CONTRACT, (q, k, v, g), state, documents, group)
    new, (held,) = piece.new, piece.held

    def before() -> State:
        gates = g if new is None else g.masked_fill(new[..., None], -torch.inf)
        return piece.entering(faded_sums, piece.held, lambda: fading(held, k, v, gates))[0]

    return piece.resumed(lambda given, *more: MIXER.local(*given, *more), before)


def fused(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One compiled pass over the positions; the memory stays in registers and the nearest cache.

    Cost: time O(B T H K V), memory O(K V) for each thread beyond the output.
    """
    g, h = _checked("decay.fused", q, k, v, g, state, documents)
    if why := ops.obstacle(q):
        raise FormError(f"decay.fused: q {why} take form='chunk'")
    return ops.fading_memory(q, k, v, g, h)


def weights(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> Weights:  # fmt: skip
    """The triangle of each head: the weight of every position for every position.

    Args:
        q, k, v, g, state, documents: as for every form; of v only the shape matters.

    Returns:
        wei: [B, H, T, T], row = the position that reads, column = the one read. Weights have
            either sign, and rows do not add up to 1.
        carried: [B, T, H, V], what the state adds to each position; zero without a state.

    For each head y is `wei @ v + carried`. Where v has G heads for H, each of them is shared
    by H / G neighbouring heads; `weights(...).on(v)` does it for all heads at once.

    Raises:
        ShapeError, DtypeError, DocumentError: as for every form.

    Cost: memory O(B H T^2).

    >>> one, half = torch.ones(1, 2, 1, 1), torch.full((1, 2, 1), 0.5).log()
    >>> weights(one, one, one, half).wei.tolist()
    [[[[1.0, 0.0], [0.5, 1.0]]]]
    """
    q_, k_, _, g_, h = _start("decay.weights", q, k, v, g, state, documents)
    g_ = g_.permute(0, 2, 3, 1)  # [B, G, R, T]
    with unmixed(q):
        wei = torch.einsum("btgrk,bsgrk->bgrts", q_, k_) * fade(g_)
        carried = torch.einsum("btgrk,bgrt,bgrkv->btgrv", q_, faded(g_), h)
    wei = wei.expand(*h.shape[:3], -1, -1).flatten(1, 2)  # [B, H, T, T]
    return Weights(wei.to(v.dtype), carried.flatten(2, 3).to(v.dtype))


def _gathered(y: list[Tensor] | tuple[Tensor, ...], v: Tensor, h: Tensor) -> tuple[Tensor, State]:
    """The outputs [B, G, R, V] of all positions as y [B, T, H, V], and h as a state."""
    B, G, R, _, V = h.shape
    if not y:
        return v.new_zeros(B, 0, G * R, V), h.flatten(1, 2)
    full = [now.expand(B, G, R, V) for now in y]
    return torch.stack(full, 1).flatten(2, 3).to(v.dtype), h.flatten(1, 2)


def _start(
    where: str, q: Tensor, k: Tensor, v: Tensor, g: Tensor,
    state: State | None, documents: Tensor | None,
) -> Grouped:  # fmt: skip
    """Check the contract; return the arguments in groups of heads, a new document as g = -inf."""
    g, h = _checked(where, q, k, v, g, state, documents)
    H = h.shape[1]
    G = min(x.shape[2] for x in (q, k, v, g))
    R = H // G if G else 0

    def grouped(x: Tensor) -> Tensor:
        x = x.to(h.dtype)
        return x.unflatten(2, (G, R)) if x.shape[2] == H else x.unsqueeze(3)

    h = h.contiguous() if state is None else h  # it was one zero for all elements
    return Grouped(grouped(q), grouped(k), grouped(v), grouped(g), h.unflatten(1, (G, R)))


def _checked(
    where: str, q: Tensor, k: Tensor, v: Tensor, g: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Check the contract; return g, -inf where a new document begins, and the state."""
    h, begins, _ = CONTRACT.start(where, (q, k, v, g), state, documents, expanded=True)
    return g if begins is None else g.masked_fill(begins[..., None], -torch.inf), h


def _best(q: Tensor, *_others: object, **_named: object) -> str:
    """`fused` where its kernel runs (a CPU, any floating dtype, any size), `chunk` elsewhere."""
    return ops.form(q, "chunk")


def draw(
    *, B: int = 2, T: int = 13, H: int = 2, K: int = 3, V: int = 4,
    seed: int = 0, dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Random valid arguments of `loop`, time on axis 1: decays around 0.9, the scores around 1.

    >>> [list(x.shape) for x in draw(B=1, T=2, H=3)]
    [[1, 2, 3, 3], [1, 2, 3, 3], [1, 2, 3, 4], [1, 2, 3]]
    """
    rng = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    q, k, v = normal(B, T, H, K) / max(K, 1) ** 0.5, normal(B, T, H, K), normal(B, T, H, V)
    g = torch.nn.functional.logsigmoid(2 + normal(B, T, H))
    return q.to(dtype), k.to(dtype), v.to(dtype), g.to(dtype)


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
    inplace=ops.InPlace(partial(_checked, "decay.advance"), ops.fading_memory_inplace),
)
