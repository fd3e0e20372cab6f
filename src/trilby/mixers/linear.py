"""Linear attention: a sum of outer products of keys and values, read by queries, normalised.

Definition, for one head; before the first position both sums are the state or 0::

    h_t = h_{t-1} + k_t v_t^T         h [K, V]
    z_t = z_{t-1} + k_t               z [K]
    y_t = h_t^T q_t / (z_t . q_t)     with normalize=False: h_t^T q_t

As a triangle `y = wei @ v`, wei[t, s] is q_t . k_s for s <= t, divided by the sum of its row. For
T = 3 and no state, without the division::

    q0.k0
    q1.k0   q1.k1
    q2.k0   q2.k1   q2.k2

The feature map is yours: give q and k after it. It is a line of torch, and nothing here depends on
it. That of the paper is `elu(x) + 1`::

    phi = lambda x: torch.nn.functional.elu(x) + 1
    y, state = trilby.linear(phi(q), phi(k), v)

Contract (all forms take and return exactly this)::

    q, k       [B, T, H, K]  queries and keys after the feature map; not scaled, scale q yourself
    v          [B, T, H, V]  values
    state      (memory [B, H, K, V], keys [B, H, K])   h and z of an earlier call; default zero
    documents  [B, T]        int64 or int32 ids that never decrease; nothing passes between them
    normalize  True or False, see above
    ->         y [B, T, H, V] in the dtype of v, state

Sequences are float64, float32, bfloat16 or float16, all of one dtype. Any strides, any size, 0 too.
Some of q, k and v may have G heads instead of H, where G divides H: each of them is shared by H / G
neighbouring heads, without being copied. The state belongs to the first document of a row when a
call begins, and to the last one when it ends. It always has both sums. Two calls joined by the
state equal one call.

A scale of q or k drops out of y if it is normalised, and does not if it is not. Where the
normaliser is exactly 0, y is 0, and so are its gradients: with features that are never negative, as
of relu, no key so far has anything in common with the query there. Features of either sign may give
a normaliser near 0, and then a y as large as that; nothing is added to it, nothing is clamped.

Every form computes in float64 and rounds once, to the dtype of v; the state stays float64. Nothing
fades here, so sums in float32 would lose digits with every position, and the gradient of a quotient
is a difference. On a device that has no float64 (MPS) all is float32. Autocast has no effect.

NaN and infinity reach every later position of their row and head, in q its own alone. They stop at
the border of a document in `loop` and `step`; in the other forms they pass it, because zero times
NaN is NaN, and in `matrix`, and in `chunk` inside one chunk, they reach earlier positions as well.

Reading order: loop, matrix, scan, chunk, step, shard, fused, weights. Source: Katharopoulos and
others, "Transformers are RNNs" (2020), arXiv:2006.16236. With normalize=False it is `decay` with g
= 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..algebra import scan as prefixes
from ..algebra.groups import grouped, ungrouped
from ..algebra.segments import restarted_sums
from ..card import Mixer, Weights
from ..comm import Piece, shared
from ..contract import FINE, Contract
from ..errors import FormError
from ..kernels import ops
from ..shapes import chunk_size, unmixed
from ..sharding import Group


class State(NamedTuple):
    """What a call knows of all earlier positions."""

    memory: Tensor  # [B, H, K, V] float64 (float32 on MPS), the sum of k v^T
    keys: Tensor  # [B, H, K] the same, the sum of k


CONTRACT = Contract(
    "linear", q="B T H K", k="B T H K", v="B T H V", normalize=bool, made=State,
    state=dict(memory=("B H K V", FINE), keys=("B H K", FINE)), values="v", shared="H",
)  # fmt: skip


class Grouped(NamedTuple):
    """The arguments in the dtype of the state, heads as G groups of R; R is 1 where they share."""

    q: Tensor  # [B, G, R, T, K]
    k: Tensor  # [B, G, R, T, K]
    v: Tensor  # [B, G, R, T, V]
    h: Tensor  # [B, G, R, K, V], R in full
    z: Tensor  # [B, G, R, K, 1]
    new: Tensor | None  # [B, T], where documents begin


def loop(
    q: Tensor, k: Tensor, v: Tensor,
    state: State | None = None, documents: Tensor | None = None, *, normalize: bool = True,
) -> tuple[Tensor, State]:  # fmt: skip
    """The definition, one position after the other.

    Args:
        q, k: [B, T, H, K] queries and keys after the feature map, or [B, T, G, K] for groups that
            share one.
        v: [B, T, H, V] values, or [B, T, G, V].
        state: `State(memory [B, H, K, V], keys [B, H, K])` of an earlier call; None is zero.
        documents: [B, T] ids that never decrease; a new id begins with an empty state. None is one
            document for each row.
        normalize: whether y is divided by the sum of its weights.

    Returns:
        y: [B, T, H, V], in the dtype of v.
        state: after the last position; pass it to the next call.

    Raises:
        ShapeError, DtypeError, DocumentError: one line that names the argument and what to do.

    Cost: time O(B T H K V), memory O(B H K V) beyond the output, T steps in sequence.
    Numerics: float64; y is rounded once to the dtype of v.

    >>> phi = lambda x: torch.nn.functional.elu(x) + 1
    >>> numbers = [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [2.0, 5.0, 8.0]
    >>> q, k, v = (torch.tensor(x).view(1, 3, 1, 1) for x in numbers)
    >>> y, state = loop(phi(q), phi(k), v)
    >>> y.flatten().tolist()  # 2, (2 + 2 5)/3, (2 + 2 5 + 8)/4
    [2.0, 4.0, 5.0]
    >>> state.memory.item(), state.keys.item()
    (20.0, 4.0)
    >>> loop(phi(q), phi(k), v, normalize=False)[0].flatten().tolist()
    [2.0, 12.0, 20.0]
    """
    q_, k_, v_, h, z, new = _start("linear.loop", q, k, v, state, documents, normalize)
    y = []
    for t in range(q.shape[1]):
        if new is not None:
            other = new[:, t, None, None, None, None]
            h, z = h.masked_fill(other, 0), z.masked_fill(other, 0)
        k_t, v_t, q_t = k_[:, :, :, t, :, None], v_[:, :, :, t, None], q_[:, :, :, t, :, None]
        h, z = h + k_t * v_t, z + k_t  # [B, G, R, K, V] and [B, G, R, K, 1]
        y_t = (q_t * h).sum(-2)  # [B, G, R, V]
        if normalize:
            sums = (q_t * z).sum(-2)  # [B, G, R, 1]
            y_t = (y_t / sums.masked_fill(sums == 0, 1)).masked_fill(sums == 0, 0)
        y.append(y_t.flatten(1, 2))
    after = State(h.flatten(1, 2), z.flatten(1, 2)[..., 0])
    if not y:
        return v.new_zeros(v.shape[0], 0, *after.memory.shape[1::2]), after
    return torch.stack(y, 1).to(v.dtype), after


def matrix(
    q: Tensor, k: Tensor, v: Tensor,
    state: State | None = None, documents: Tensor | None = None, *, normalize: bool = True,
) -> tuple[Tensor, State]:  # fmt: skip
    """One T x T triangle of scores for each head, its row sums, and its product with v.

    Cost: time O(B H T^2 (K + V)), memory O(B H T^2).
    """
    given = _start("linear.matrix", q, k, v, state, documents, normalize)
    with unmixed(q):
        y, h, z = _block(given, normalize)
    return _gathered([y], v, h, z)


def scan(
    q: Tensor, k: Tensor, v: Tensor,
    state: State | None = None, documents: Tensor | None = None, *, normalize: bool = True,
) -> tuple[Tensor, State]:  # fmt: skip
    """Parallel prefixes of sums that start anew with a document, both sums side by side.

    Cost: work O(B T H K V), memory O(B T H K V), depth O(log T).
    """
    q_, k_, v_, h, z, new = _start("linear.scan", q, k, v, state, documents, normalize)
    if not q.shape[1]:
        return _gathered([], v, h, z)
    keeps = torch.ones_like(q_[..., :1, None]) if new is None else _keeps(new, q_)
    both = torch.cat([v_, torch.ones_like(v_[..., :1])], -1)  # [B, G, R or 1, T, V + 1]
    new_sums = (k_[..., None] * both[..., None, :]).expand(*h.shape[:3], -1, -1, -1)
    keeps, sums = prefixes(_join, (keeps, new_sums), dim=3)
    sums = sums + keeps * torch.cat([h, z], -1)[:, :, :, None]  # [B, G, R, T, K, V + 1]
    read = (q_[..., None] * sums).sum(-2)
    y = _divided(read[..., :-1], read[..., -1:]) if normalize else read[..., :-1]
    last = sums[:, :, :, -1]
    return _gathered([y], v, last[..., :-1], last[..., -1:])


def _join(f: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return then[0] * f[0], then[0] * f[1] + then[1]


def chunk(
    q: Tensor, k: Tensor, v: Tensor,
    state: State | None = None, documents: Tensor | None = None, *,
    normalize: bool = True, size: int = 64,
) -> tuple[Tensor, State]:  # fmt: skip
    """The triangle inside each chunk of `size` positions; both sums are passed between chunks.

    Cost: time O(B T H (size (K + V) + K V)), memory O(B T H V + B H size^2), T / size steps.
    """
    given = _start("linear.chunk", q, k, v, state, documents, normalize)
    chunk_size("linear.chunk", size)
    y, h, z, new = [], given.h, given.z, given.new
    for start in range(0, q.shape[1], size):
        now = slice(start, start + size)
        q_, k_, v_ = (x[:, :, :, now] for x in given[:3])
        part = Grouped(q_, k_, v_, h, z, None if new is None else new[:, now])
        with unmixed(q):
            y_now, h, z = _block(part, normalize)
        y.append(y_now)
    return _gathered(y, v, h, z)


def step(
    q: Tensor, k: Tensor, v: Tensor,
    state: State | None = None, documents: Tensor | None = None, *, normalize: bool = True,
) -> tuple[Tensor, State]:  # fmt: skip
    """One position at a time, as a decoder delivers them: write, read, divide.

    Cost: time O(H K V) and memory O(H K V) for each position and row.
    """
    *given, h, z, new = _start("linear.step", q, k, v, state, documents, normalize)
    y = []
    for t, (q_t, k_t, v_t) in enumerate(zip(*(x.unbind(3) for x in given), strict=True)):
        if new is not None:
            other = new[:, t, None, None, None, None]
            h, z = h.masked_fill(other, 0), z.masked_fill(other, 0)
        h, z = torch.addcmul(h, k_t[..., None], v_t[..., None, :]), z + k_t[..., None]
        read = (q_t[..., None] * h).sum(-2)
        y.append(_divided(read, (q_t[..., None] * z).sum(-2)) if normalize else read)
    return _gathered([torch.stack(y, 3)] if y else [], v, h, z)


@shared
def shard(
    q: Tensor, k: Tensor, v: Tensor,
    state: State | None = None, documents: Tensor | None = None, *,
    normalize: bool = True, group: Group | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Each rank of a group has a piece of time; the ranks join the sums over their pieces.

    Cost: at most twice that of the best form; a rank sends O(B H K V log(ranks)) numbers.
    """
    piece = Piece("linear.shard", CONTRACT, (q, k, v, normalize), state, documents, group)

    def segment() -> tuple[Tensor, ...]:
        nothing = State(*piece.nothing)
        return piece.kept, *MIXER.local(q, k, v, nothing, documents, normalize=normalize)[1]

    def before() -> State:
        return State(*piece.entering(restarted_sums, piece.held, segment))

    return piece.resumed(
        lambda given, *more: MIXER.local(*given[:3], *more, normalize=normalize), before
    )


def fused(
    q: Tensor, k: Tensor, v: Tensor,
    state: State | None = None, documents: Tensor | None = None, *, normalize: bool = True,
) -> tuple[Tensor, State]:  # fmt: skip
    """Compiled passes over the positions; the memory stays in registers and the nearest cache.

    Cost: time O(B T H K V), memory O(K V) for each thread beyond the output.
    """
    (h, z), new, _ = CONTRACT.start("linear.fused", (q, k, v, normalize), state, documents)
    if why := ops.obstacle(q):
        raise FormError(f"linear.fused: q {why} take form='chunk'")
    y, memory, keys = ops.linear_attention(q, k, v, h, z, new, normalize)
    return y, State(memory, keys)


def weights(
    q: Tensor, k: Tensor, v: Tensor,
    state: State | None = None, documents: Tensor | None = None, *, normalize: bool = True,
) -> Weights:  # fmt: skip
    """The triangle of each head: the weight of every position for every position.

    Args:
        q, k, v, state, documents, normalize: as for every form; of v only the shape matters.

    Returns:
        wei: [B, H, T, T], row = the position that reads, column = the one read. Rows add up to 1
            where y is normalised and there is no state.
        carried: [B, T, H, V], what the state adds to each position; zero without a state.

    For each head y is `wei @ v + carried`. Where v has G heads for H, each of them is shared
    by H / G neighbouring heads; `weights(...).on(v)` does it for all heads at once.

    Raises:
        ShapeError, DtypeError, DocumentError: as for every form.

    Cost: memory O(B H T^2).

    >>> one, k = torch.ones(1, 2, 1, 1), torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    >>> weights(one, k, one).wei.tolist()
    [[[[1.0, 0.0], [0.25, 0.75]]]]
    """
    given = _start("linear.weights", q, k, v, state, documents, normalize)
    with unmixed(q):
        wei, early, _ = _triangle(given)
        carried = early @ given.h
        if normalize:
            sums = wei.sum(-1, keepdim=True) + early @ given.z
            wei, carried = _divided(wei, sums), _divided(carried, sums)
    wei = wei.expand(*given.h.shape[:3], -1, -1).flatten(1, 2)  # [B, H, T, T]
    return Weights(wei.to(v.dtype), _gathered([carried], v, given.h, given.z)[0])


def _triangle(given: Grouped) -> tuple[Tensor, Tensor, Tensor | None]:
    """q_t . k_s for s <= t of one document, else 0, [.., T, T]; q where it reads the state, else 0.

    And which positions are of the last document, [B, 1, 1, T, 1]; None: all.
    """
    q, k, *_, new = given
    wei = (q @ k.mT).tril()
    if new is None:
        return wei, q, None
    number = new.cumsum(1)  # [B, T], 0 throughout the document that the state enters
    other = number[:, None, None, :, None] != number[:, None, None, None]
    early = q.masked_fill((number > 0)[:, None, None, :, None], 0)
    last = (number == number[:, -1:])[:, None, None, :, None]
    return wei.masked_fill(other, 0), early, last


def _block(given: Grouped, normalize: bool) -> tuple[Tensor, Tensor, Tensor]:
    """y of some positions by their triangle, and both sums after them."""
    _, k, v, h, z, new = given
    wei, early, last = _triangle(given)
    y = wei @ v + early @ h
    if normalize:
        y = _divided(y, wei.sum(-1, keepdim=True) + early @ z)
    if last is not None:
        k = k.masked_fill(~last, 0)
    if new is not None and new.shape[1]:
        other = new.any(1)[:, None, None, None, None]
        h, z = h.masked_fill(other, 0), z.masked_fill(other, 0)
    return y, h + k.mT @ v, z + k.sum(-2)[..., None]


def _keeps(new: Tensor, q: Tensor) -> Tensor:
    """[B, 1, 1, T, 1, 1]: 0 where a document begins, else 1, as a factor."""
    return (~new).to(q.dtype)[:, None, None, :, None, None]


def _divided(read: Tensor, sums: Tensor) -> Tensor:
    """read / sums, and 0 where a sum is 0."""
    nothing = sums == 0
    return (read / sums.masked_fill(nothing, 1)).masked_fill(nothing, 0)


def _gathered(y: list[Tensor], v: Tensor, h: Tensor, z: Tensor) -> tuple[Tensor, State]:
    """The outputs as y [B, T, H, V], and both sums as a state."""
    found, memory = ungrouped(y, v, h)
    return found, State(memory, z.flatten(1, 2)[..., 0])


def _start(
    where: str, q: Tensor, k: Tensor, v: Tensor,
    state: State | None, documents: Tensor | None, normalize: bool,
) -> Grouped:  # fmt: skip
    """Check the contract; return the arguments in groups of heads."""
    (h, z), new, _ = CONTRACT.start(where, (q, k, v, normalize), state, documents)
    q, k, v, h = grouped(h, q, k, v)
    return Grouped(q, k, v, h, z.unflatten(1, h.shape[1:3])[..., None], new)


def _best(q: Tensor, *_others: object, **_named: object) -> str:
    """`fused` where its kernel runs (a CPU, any floating dtype, any size), `chunk` elsewhere."""
    return ops.form(q, "chunk")


def draw(
    *, B: int = 2, T: int = 13, H: int = 2, K: int = 3, V: int = 4,
    seed: int = 0, dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Random valid arguments of `loop`, time on axis 1: q and k after `elu(x) + 1`, and v.

    >>> [list(x.shape) for x in draw(B=1, T=2, H=3)]
    [[1, 2, 3, 3], [1, 2, 3, 3], [1, 2, 3, 4]]
    """
    rng = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    q, k = (torch.nn.functional.elu(normal(B, T, H, K)) + 1 for _ in range(2))
    return q.to(dtype), k.to(dtype), normal(B, T, H, V).to(dtype)


MIXER = Mixer(
    contract=CONTRACT,
    forms=dict(
        loop=loop, matrix=matrix, scan=scan, chunk=chunk, step=step, shard=shard, fused=fused
    ),
    absent=dict(softmax="its weights are products of features and no exponentials of scores"),
    best=_best,
    weights=weights,
    draw=draw,
)
