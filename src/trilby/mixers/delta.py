"""Delta: a memory of keys and values that corrects itself, with or without a gate.

Definition, for one head::

    f_t = exp(g_t) h_{t-1}                       what is left, h [K, V], first the state or 0
    h_t = f_t + beta_t k_t (v_t - f_t^T k_t)^T   the value found at k_t moves towards v_t
    y_t = h_t^T q_t

With u_t = beta_t (v_t - f_t^T k_t) it is `decay` of q, k and u. As a triangle `y = wei @ v`, wei is
A (1 + diag(beta) L)^-1 diag(beta), where A[t, s] is (q_t . k_s) exp(g_{s+1} + ... + g_t) for
s <= t, and L[t, s] is (k_t . k_s) exp(g_{s+1} + ... + g_t) for s < t.

Contract (all forms take and return exactly this)::

    q, k       [B, T, H, K]  queries and keys; not scaled, not normalised, do both yourself
    v          [B, T, H, V]  values
    beta       [B, T, H]     0 writes nothing; 1 puts v in the place of what a key of length 1 finds
    g          [B, T, H]     natural logarithm of the decay: g <= 0 forgets; None is no decay, g = 0
    state      [B, H, K, V]  what came before; default zero
    documents  [B, T]        int64 or int32 ids that never decrease; nothing passes between them
    ->         y [B, T, H, V] in the dtype of v, state

Sequences are float64, float32, bfloat16 or float16, all of one dtype; beta and g may stay float32
beside halves. Any strides, any size, 0 too. Some of q, k, v, beta and g may have G heads instead of
H, where G divides H: each of them is shared by H / G neighbouring heads. The state belongs to the
first document of a row when a call begins, and to the last one when it ends. Two calls joined by
the state equal one call.

Everything is computed in float32, and in float64 for float64. The state has the same dtype.
`matrix` and `chunk` are float64 inside where the device has it: between the positions of a triangle
what is written cancels what it erases, and float32 would lose small gradients. Autocast has no
effect. The decay comes first: a position reads, erases and writes what is left.
`g = -inf` is a reset: the past has exactly no effect. Nothing is clamped: g may be above 0, and
beta may be anything. With keys of length 1 a beta from 0 to 2 keeps the memory bounded (above 1 it
overshoots: the eigenvalue 1 - beta is negative); what grows is infinite beyond the largest number
of its dtype. No form computes `exp` of a sum that the gates themselves do not have.

NaN and infinity reach every later position of their row and head. They also pass a reset and the
border of a document, because zero times NaN is NaN. In `matrix`, and in `chunk` inside one chunk,
they reach earlier positions as well.

Reading order: loop, matrix, scan, chunk, step, shard, fused, weights. Sources: Schlag and others,
"Linear transformers are secretly fast weight programmers" (2021), arXiv:2102.11174; Yang and
others, "Gated delta networks" (2024), arXiv:2412.06464. Also known as DeltaNet without g, and Gated
DeltaNet.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..algebra.delta import chunked, prefixed, seen, stepped, weighed
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
    "delta", q="B T H K", k="B T H K", v="B T H V", beta="B T H", g=("B T H", None),
    state=dict(state=("B H K V", WIDE)), values="v", shared="H", wide=("beta", "g"),
)  # fmt: skip


class Grouped(NamedTuple):
    """The arguments in the dtype of the state, heads as G groups of R; R is 1 where they share."""

    q: Tensor  # [B, G, R, T, K]
    k: Tensor  # [B, G, R, T, K]
    v: Tensor  # [B, G, R, T, V]
    beta: Tensor  # [B, G, R, T]
    g: Tensor  # [B, G, R, T]
    h: Tensor  # [B, G, R, K, V], R in full


def loop(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """The definition, one position after the other.

    Args:
        q, k: [B, T, H, K] queries and keys, or [B, T, G, K] for groups that share one.
        v: [B, T, H, V] values, or [B, T, G, V].
        beta: [B, T, H] how far what is found moves towards v, or [B, T, G].
        g: [B, T, H] natural logarithm of the decay, or [B, T, G]; None is no decay.
        state: [B, H, K, V] of an earlier call; None is zero.
        documents: [B, T] ids that never decrease; a new id is a reset. None is one document a row.

    Returns:
        y: [B, T, H, V], in the dtype of v.
        state: [B, H, K, V] after the last position; pass it to the next call.

    Raises:
        ShapeError, DtypeError, DocumentError: one line that names the argument and what to do.

    Cost: time O(B T H K V), memory O(B H K V) beyond the output, T steps in sequence.
    Numerics: float32, or float64 for float64; y is rounded once to the dtype of v.

    >>> one, v = torch.ones(1, 3, 1, 1), torch.tensor([2.0, 4.0, 9.0]).view(1, 3, 1, 1)
    >>> half = torch.full((1, 3, 1), 0.5)
    >>> y, state = loop(one, one, v, half)
    >>> y.flatten().tolist()  # half of the way from 0 to 2, from 1 to 4, from 2.5 to 9
    [1.0, 2.5, 5.75]
    >>> loop(one, one, v, half, half.log())[0].flatten().tolist()  # from 0, then 1/2, then 9/8
    [1.0, 2.25, 5.0625]
    >>> loop(one, one, v, half, documents=torch.tensor([[0, 0, 1]]))[0].flatten().tolist()
    [1.0, 2.5, 4.5]
    """
    in_q, in_k, in_v, in_beta, in_g, h = _start("delta.loop", q, k, v, beta, g, state, documents)
    y = []
    for t in range(q.shape[1]):
        k_t, beta_t, a_t = in_k[..., t, :, None], in_beta[..., t, None], in_g[..., t].exp()
        h = a_t[..., None, None] * h  # [B, G, R, K, V]
        u = beta_t * (in_v[..., t, :] - (k_t * h).sum(-2))  # [B, G, R, V]
        h = h + k_t * u[..., None, :]
        y.append((in_q[..., t, :, None] * h).sum(-2))
    read = torch.stack(y, 1) if y else h.new_zeros(h.shape[0], 0, *h.shape[1:3], h.shape[4])
    return read.flatten(2, 3).to(v.dtype), h.flatten(1, 2)


def matrix(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One T x T triangle for each head: a triangular solve for what is written, then the scores.

    Cost: time O(B H T^2 (K + V)), memory O(B H T^2).
    """
    *sequences, h = _start("delta.matrix", q, k, v, beta, g, state, documents)
    with unmixed(q):
        y, h = chunked(seen, sequences, h, max(1, q.shape[1]))  # all positions are one chunk
    return ungrouped(y, v, h)


def scan(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Parallel prefixes of the maps h -> A h + b, A = exp(g) (1 - beta k k^T), b = beta k v^T.

    Two maps join by a product of matrices, so this is no way to be fast: it shows that the rule is
    associative. `chunk` is the parallel form to use.

    Cost: work O(B T H K^2 (K + V)), memory O(B T H K (K + V)), depth O(log T).
    """
    *sequences, g, h = _start("delta.scan", q, k, v, beta, g, state, documents)
    if not q.shape[1]:
        return ungrouped([], v, h)
    with unmixed(q):
        y, h = prefixed((*sequences, g[..., None]), h)
    return ungrouped(y, v, h)


def chunk(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *, size: int = 64,
) -> tuple[Tensor, State]:  # fmt: skip
    """The triangle inside each chunk of `size` positions; the memory is passed between chunks.

    Cost: time O(B T H (size (K + V) + K V)), memory O(B T H V + B H size^2), T / size steps.
    """
    *sequences, h = _start("delta.chunk", q, k, v, beta, g, state, documents)
    chunk_size("delta.chunk", size)
    with unmixed(q):
        y, h = chunked(seen, sequences, h, size)
    return ungrouped(y, v, h)


def step(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One position at a time, as a decoder delivers them: fade, compare, correct, read.

    Cost: time O(H K V) and memory O(H K V) for each position and row.
    """
    *sequences, g, h = _start("delta.step", q, k, v, beta, g, state, documents)
    y, h = stepped((*sequences, g[..., None]), h)
    return ungrouped(y, v, h)


@shared
def shard(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *, group: Group | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Each rank of a group has a piece of time; the ranks join what their pieces do to the memory.

    Cost: that of the best form for each piece, with values of V, and before with K + V; each rank
    sends O(B H K (K + V) log(ranks)) numbers.
    """
    piece = Piece("delta.shard", CONTRACT, (q, k, v, beta, g), state, documents, group)

    def after(written: Tensor, h: Tensor) -> Tensor:
        return MIXER.local(q, k, written, beta, g, h, documents)[1]

    held, new = piece.held, piece.new

    def before() -> State:
        return piece.entering(turned_sums, held, lambda: turning(held[0], v, new, after))[0]

    return piece.resumed(lambda given, *more: MIXER.local(*given, *more), before)


def fused(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One compiled pass over the positions, four at a time; the memory stays in the nearest cache.

    Its gradient is compiled too, and keeps the arguments alone. Where gradients of gradients or
    forward mode are wanted, they are those of `chunk`, in torch operations.

    Cost: time O(B T H K V), memory O(K V) for each thread beyond the output; on the way back
    O(B T H V), and O(T K V / 64) for each thread.
    """
    g, h = _checked("delta.fused", q, k, v, beta, g, state, documents)
    if why := ops.obstacle(q):
        raise FormError(f"delta.fused: q {why} take form='chunk'")
    return ops.delta_rule(q, k, v, beta, g, h)


def weights(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> Weights:  # fmt: skip
    """The triangle of each head: the weight of every value for every position, all unfolded.

    What later positions erase is taken off the weight of what they erase, so it is exact.

    Args:
        q, k, v, beta, g, state, documents: as for every form; of v only the shape matters.

    Returns:
        wei: [B, H, T, T], row = the position that reads, column = the one read. Weights have
            either sign, and rows do not add up to 1.
        carried: [B, T, H, V], what the state adds to each position; zero without a state.

    For each head y is `wei @ v + carried`. Where v has G heads for H, each of them is shared
    by H / G neighbouring heads; `weights(...).on(v)` does it for all heads at once.

    Raises:
        ShapeError, DtypeError, DocumentError: as for every form.

    Cost: time O(B H T^3), memory O(B H T^2).

    >>> one, half = torch.ones(1, 2, 1, 1), torch.full((1, 2, 1), 0.5)
    >>> weights(one, one, one, half).wei.tolist()  # the second position erases half of the first
    [[[[0.5, 0.0], [0.25, 0.5]]]]
    """
    q_, k_, _, beta_, g_, h = _start("delta.weights", q, k, v, beta, g, state, documents)
    if not q.shape[1]:
        none = v.new_zeros(h.shape[0], h.shape[1] * h.shape[2], 0, 0)
        return Weights(none, ungrouped([], v, h)[0])
    with unmixed(q):
        wei, carried = weighed(seen, (q_, k_, beta_, g_), h)
    return Weights(wei.to(v.dtype), ungrouped([carried], v, h)[0])


def _start(
    where: str, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None,
    state: State | None, documents: Tensor | None,
) -> Grouped:  # fmt: skip
    """Check the contract; return the arguments in groups of heads, a new document as g = -inf."""
    g, h = _checked(where, q, k, v, beta, g, state, documents)
    h = h.contiguous() if state is None else h  # it was one zero for all elements
    return Grouped(*grouped(h, q, k, v, beta, g))


def _checked(
    where: str, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Check the contract; return g, -inf where a new document begins, and the state."""
    given = (q, k, v, beta, g)
    h, begins, _ = CONTRACT.start(where, given, state, documents, expanded=True)
    g = torch.zeros_like(beta) if g is None else g
    return g if begins is None else g.masked_fill(begins[..., None], -torch.inf), h


def _advanced(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None = None, *, state: State
) -> Tensor:  # fmt: skip
    """y, and the state overwritten."""
    g = torch.zeros_like(beta) if g is None else g
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
    [[1, 2, 3, 3], [1, 2, 3, 3], [1, 2, 3, 4], [1, 2, 3], [1, 2, 3]]
    """
    rng = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    q, k = (torch.nn.functional.normalize(normal(B, T, H, K), dim=-1) for _ in "qk")
    v, beta = normal(B, T, H, V), normal(B, T, H).sigmoid()
    g = torch.nn.functional.logsigmoid(2 + normal(B, T, H))
    return q.to(dtype), k.to(dtype), v.to(dtype), beta.to(dtype), g.to(dtype)


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
    inplace=ops.InPlace(partial(_checked, "delta.advance"), _advanced),
)
