"""Kda: the delta rule of `delta` with a gate for each channel of the keys.

Definition, for one head::

    f_t = diag(exp(g_t)) h_{t-1}                 what is left, h [K, V], first the state or 0
    h_t = f_t + beta_t k_t (v_t - f_t^T k_t)^T   the value found at k_t moves towards v_t
    y_t = h_t^T q_t

Where g_t is the same for all channels, it is `delta`. As a triangle `y = wei @ v`, wei is
A (1 + diag(beta) L)^-1 diag(beta), where A[t, s] is q_t . (exp(g_{s+1} + ... + g_t) k_s) for s <= t
and L[t, s] is k_t . (exp(g_{s+1} + ... + g_t) k_s) for s < t, channel by channel.

Contract (all forms take and return exactly this)::

    q, k       [B, T, H, K]  queries and keys; not scaled, not normalised, do both yourself
    v          [B, T, H, V]  values
    g          [B, T, H, K]  natural logarithms of the decays, g <= 0 forgets, one for each row of h
    beta       [B, T, H]     0 writes nothing; 1 puts v in the place of what a key of length 1 finds
    state      [B, H, K, V]  what came before; default zero
    documents  [B, T]        int64 or int32 ids that never decrease; nothing passes between them
    ->         y [B, T, H, V] in the dtype of v, state

Sequences are float64, float32, bfloat16 or float16, all of one dtype; g and beta may stay float32
beside halves. Any strides, any size, 0 too. Some of q, k, v, g and beta may have G heads instead of
H, where G divides H: each of them is shared by H / G neighbouring heads. The state belongs to the
first document of a row when a call begins, and to the last one when it ends. Two calls joined by
the state equal one call.

Everything is computed in float32, and in float64 for float64. The state has the same dtype.
`matrix` and `chunk` are float64 inside where the device has it, for the reason that `delta` gives.
Autocast has no effect. The decay comes first: a position reads, erases and writes what is left.
`g = -inf` is a reset of its channel: the past has exactly no effect there, and in other channels it
has. Nothing is clamped: g may be above 0, and beta may be anything. No form divides by a decay, and
none computes `exp` of a sum that the gates themselves do not have: decays of -50 at each position
are as exact as those near 0. With g <= 0, keys of length 1 and a beta from 0 to 2 the memory is
bounded; what grows is infinite beyond the largest number of its dtype.

NaN and infinity reach every later position of their row and head. They also pass a reset and the
border of a document, because zero times NaN is NaN. In `matrix`, and in `chunk` inside one chunk,
they reach earlier positions as well.

Reading order: loop, matrix, scan, chunk, step, shard, fused, weights. Source: the Kimi team, "Kimi
Linear: an expressive, efficient attention architecture" (2025), arXiv:2510.26692. Also known as
Kimi delta attention, KDA.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..algebra.delta import chunked, prefixed, seen_by_channel, stepped, weighed
from ..algebra.groups import grouped, ungrouped
from ..algebra.segments import turned_sums, turning
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
    "kda", q="B T H K", k="B T H K", v="B T H V", g="B T H K", beta="B T H",
    state=dict(state=("B H K V", WIDE)), values="v", shared="H", wide=("g", "beta"),
)  # fmt: skip


class Grouped(NamedTuple):
    """The arguments in the dtype of the state, heads as G groups of R; R is 1 where they share."""

    q: Tensor  # [B, G, R, T, K]
    k: Tensor  # [B, G, R, T, K]
    v: Tensor  # [B, G, R, T, V]
    beta: Tensor  # [B, G, R, T]
    g: Tensor  # [B, G, R, T, K]
    h: Tensor  # [B, G, R, K, V], R in full


def loop(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """The definition, one position after the other.

    Args:
        q, k: [B, T, H, K] queries and keys, or [B, T, G, K] for groups that share one.
        v: [B, T, H, V] values, or [B, T, G, V].
        g: [B, T, H, K] natural logarithms of the decays, or [B, T, G, K].
        beta: [B, T, H] how far what is found moves towards v, or [B, T, G].
        state: [B, H, K, V] of an earlier call; None is zero.
        documents: [B, T] ids that never decrease; a new id is a reset. None is one document a row.

    Returns:
        y: [B, T, H, V], in the dtype of v.
        state: [B, H, K, V] after the last position; pass it to the next call.

    Raises:
        ShapeError, DtypeError, DocumentError: one line that names the argument and what to do.

    Cost: time O(B T H K V), memory O(B H K V) beyond the output, T steps in sequence.
    Numerics: float32, or float64 for float64; y is rounded once to the dtype of v.

    >>> one, zero = torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1)
    >>> gates = torch.tensor([0.5, 0.0]).log().view(1, 1, 1, 2)
    >>> y, state = loop(one, one, one, gates, zero, torch.full((1, 1, 2, 2), 4.0))
    >>> state.tolist()  # the first row is halved, the second one reset, and nothing is written
    [[[[2.0, 2.0], [0.0, 0.0]]]]
    >>> loop(one, one, one, gates, zero + 1, state)[0].tolist()  # 1 is found, and moves by (1 - 1)
    [[[[1.0, 1.0]]]]
    """
    in_q, in_k, in_v, in_beta, in_g, h = _start("kda.loop", q, k, v, g, beta, state, documents)
    y = []
    for t in range(q.shape[1]):
        k_t, beta_t, a_t = in_k[..., t, :, None], in_beta[..., t, None], in_g[..., t, :].exp()
        h = a_t[..., None] * h  # [B, G, R, K, V]
        u = beta_t * (in_v[..., t, :] - (k_t * h).sum(-2))  # [B, G, R, V]
        h = h + k_t * u[..., None, :]
        y.append((in_q[..., t, :, None] * h).sum(-2))
    read = torch.stack(y, 1) if y else h.new_zeros(h.shape[0], 0, *h.shape[1:3], h.shape[4])
    return read.flatten(2, 3).to(v.dtype), h.flatten(1, 2)


def matrix(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One T x T triangle for each head: a triangular solve for what is written, then the scores.

    Cost: time O(B H T^2 (K + V)), memory O(B H T (T + K log T)).
    """
    *sequences, h = _start("kda.matrix", q, k, v, g, beta, state, documents)
    with unmixed(q):
        y, h = chunked(seen_by_channel, sequences, h, max(1, q.shape[1]))  # one chunk
    return ungrouped(y, v, h)


def scan(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Parallel prefixes of the maps h -> A h + b, A = (1 - beta k k^T) diag(exp(g)).

    Two maps join by a product of matrices, so this is no way to be fast: it shows that the rule is
    associative. `chunk` is the parallel form to use.

    Cost: work O(B T H K^2 (K + V)), memory O(B T H K (K + V)), depth O(log T).
    """
    *sequences, h = _start("kda.scan", q, k, v, g, beta, state, documents)
    if not q.shape[1]:
        return ungrouped([], v, h)
    with unmixed(q):
        y, h = prefixed(sequences, h)
    return ungrouped(y, v, h)


def chunk(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor,
    state: State | None = None, documents: Tensor | None = None, *, size: int = 64,
) -> tuple[Tensor, State]:  # fmt: skip
    """The triangle inside each chunk of `size` positions; the memory is passed between chunks.

    Cost: time O(B T H (size (K + V) + K V)), memory O(B T H V + B H size (size + K log size)),
    T / size steps.
    """
    *sequences, h = _start("kda.chunk", q, k, v, g, beta, state, documents)
    chunk_size("kda.chunk", size)
    with unmixed(q):
        y, h = chunked(seen_by_channel, sequences, h, size)
    return ungrouped(y, v, h)


def step(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One position at a time, as a decoder delivers them: fade, compare, correct, read.

    Cost: time O(H K V) and memory O(H K V) for each position and row.
    """
    *sequences, h = _start("kda.step", q, k, v, g, beta, state, documents)
    y, h = stepped(sequences, h)
    return ungrouped(y, v, h)


@shared
def shard(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor,
    state: State | None = None, documents: Tensor | None = None, *, group: Group | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Each rank of a group has a piece of time; the ranks join what their pieces do to the memory.

    Cost: that of the best form for each piece, with values of V, and before with K + V; each rank
    sends O(B H K (K + V) log(ranks)) numbers.
    """
    piece = Piece("kda.shard", CONTRACT, (q, k, v, g, beta), state, documents, group)

    def after(written: Tensor, h: Tensor) -> Tensor:
        return MIXER.local(q, k, written, g, beta, h, documents)[1]

    held, new = piece.held, piece.new

    def before() -> State:
        return piece.entering(turned_sums, held, lambda: turning(held[0], v, new, after))[0]

    return piece.resumed(lambda given, *more: MIXER.local(*given, *more), before)


def fused(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One compiled pass over the positions, four at a time: the program of `delta`, by channel.

    Its gradient is compiled too, and keeps the arguments alone. Where gradients of gradients or
    forward mode are wanted, they are those of `chunk`, in torch operations.

    Cost: time O(B T H K V), memory O(K V) for each thread beyond the output; on the way back
    O(B T H V), and O(T K V / 64) for each thread.
    """
    g, h = _checked("kda.fused", q, k, v, g, beta, state, documents)
    if why := ops.obstacle(q):
        raise FormError(f"kda.fused: q {why} take form='chunk'")
    return ops.delta_rule(q, k, v, beta, g, h)


def weights(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> Weights:  # fmt: skip
    """The triangle of each head: the weight of every value for every position, all unfolded.

    What later positions erase is taken off the weight of what they erase, so it is exact.

    Args:
        q, k, v, g, beta, state, documents: as for every form; of v only the shape matters.

    Returns:
        wei: [B, H, T, T], row = the position that reads, column = the one read. Weights have
            either sign, and rows do not add up to 1.
        carried: [B, T, H, V], what the state adds to each position; zero without a state.

    For each head y is `wei @ v + carried`. Where v has G heads for H, each of them is shared
    by H / G neighbouring heads; `weights(...).on(v)` does it for all heads at once.

    Raises:
        ShapeError, DtypeError, DocumentError: as for every form.

    Cost: time O(B H T^3), memory O(B H T (T + K log T)).

    >>> one, half = torch.ones(1, 2, 1, 1), torch.full((1, 2, 1), 0.5)
    >>> weights(one, one, one, 0 * one, half).wei.tolist()  # half of the first is erased
    [[[[0.5, 0.0], [0.25, 0.5]]]]
    """
    *sequences, h = _start("kda.weights", q, k, v, g, beta, state, documents)
    if not q.shape[1]:
        none = v.new_zeros(h.shape[0], h.shape[1] * h.shape[2], 0, 0)
        return Weights(none, ungrouped([], v, h)[0])
    with unmixed(q):
        wei, carried = weighed(seen_by_channel, (*sequences[:2], *sequences[3:]), h)
    return Weights(wei.to(v.dtype), ungrouped([carried], v, h)[0])


def _start(
    where: str, q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor,
    state: State | None, documents: Tensor | None,
) -> Grouped:  # fmt: skip
    """Check the contract; return the arguments in groups of heads, a new document as g = -inf."""
    g, h = _checked(where, q, k, v, g, beta, state, documents)
    h = h.contiguous() if state is None else h  # it was one zero for all elements
    return Grouped(*grouped(h, q, k, v, beta, g))


def _checked(
    where: str, q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Check the contract; return g, -inf where a new document begins, and the state."""
    h, begins, _ = CONTRACT.start(where, (q, k, v, g, beta), state, documents, expanded=True)
    return g if begins is None else g.masked_fill(begins[..., None, None], -torch.inf), h


def _advanced(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, *, state: State) -> Tensor:
    """y, and the state overwritten."""
    return ops.delta_rule_inplace(q, k, v, beta, g, state)


def _best(q: Tensor, *_others: object, **_named: object) -> str:
    """`fused` where its kernel runs (a CPU, any floating dtype, any size), `chunk` elsewhere."""
    return ops.form(q, "chunk")


def draw(
    *, B: int = 2, T: int = 13, H: int = 2, K: int = 3, V: int = 4,
    seed: int = 0, dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Random valid arguments of `loop`, time on axis 1: q and k of length 1, decays around 0.9.

    >>> [list(x.shape) for x in draw(B=1, T=2, H=3)]
    [[1, 2, 3, 3], [1, 2, 3, 3], [1, 2, 3, 4], [1, 2, 3, 3], [1, 2, 3]]
    """
    rng = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    q, k = (torch.nn.functional.normalize(normal(B, T, H, K), dim=-1) for _ in "qk")
    v, beta = normal(B, T, H, V), normal(B, T, H).sigmoid()
    g = torch.nn.functional.logsigmoid(2 + normal(B, T, H, K))
    return q.to(dtype), k.to(dtype), v.to(dtype), g.to(dtype), beta.to(dtype)


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
    inplace=ops.InPlace(partial(_checked, "kda.advance"), _advanced),
)
