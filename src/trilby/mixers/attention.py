"""Attention: an average of all values so far, weighted by how well each key fits the query.

Definition, for one head, with positions s <= t of the same document, and `window` of them at most::

    z_ts = scale (q_t . k_s)                  scale: 1 / sqrt(K) unless you give it
    z_ts = cap tanh(z_ts / cap)               if there is a cap
    z_ts = z_ts - slope (t - s)               if there are slopes (ALiBi)
    y_t  = sum_s exp(z_ts) v_s / (sum_s exp(z_ts) + exp(sink))        without sinks: + 0

As a triangle `y = wei @ v + carried`. For T = 3, with e = exp(z) and n the sum of its row::

    e00/n0
    e10/n1   e11/n1
    e20/n2   e21/n2   e22/n2

Contract (all forms take and return exactly this)::

    q, k       [B, T, H, K]  queries and keys, not normalised
    v          [B, T, H, V]  values
    state      State(keys [B, S, H, K], values [B, S, H, V], count [B]); default: nothing seen
    documents  [B, T]        int64 or int32 ids that never decrease; nothing passes between them
    scale      a number or None; None is 1 / sqrt(K), as in torch's scaled_dot_product_attention
    window     a whole number from 1 or None; how many positions a query sees, itself included
    cap        a number above 0 or None
    sinks      [H] or None   a score for each head that takes its share and has no value
    slopes     [H] or None   what each position of distance takes from a score
    ->         y [B, T, H, V] in the dtype of v, state

Sequences are float64, float32, bfloat16 or float16, all of one dtype; sinks and slopes may stay
float32 beside halves. Any strides, any size, 0 too. Some of q, k, v, sinks and slopes may have G
heads instead of H, where G divides H: each of them is shared by H / G neighbouring heads (GQA, and
MQA with G = 1), without being copied; the state has as many heads as k and v.

The last query of a call sees all keys, those of the state and those of the call, and each query
before it one less (aligned bottom right, unlike torch's `is_causal` with a cache). A window larger
than what has been seen is no window. The order is scale, cap, bias, mask, as in Gemma 2 and ALiBi.

The state belongs to the first document of a row when a call begins, and to the last one when it
ends. `count` is how many positions that document has so far. Position p of it is in slot p mod S,
and the last S of them count, or fewer if there are no more; other slots are zeros. S grows by T
with each call. With a window it stops at window - 1, all that a later query can see, so continue
with the same window or a smaller one. Two calls joined by the state equal one call. Keys and values
of the state are rounded to the dtype that they came in, so they are exactly those of the call.

Everything is computed in float32, and in float64 for float64, and y is rounded once. The largest
score is subtracted before exp, so no exp is of a positive number, and no finite score overflows.
A query whose every score is -inf has y = 0. Autocast has no effect. NaN and infinity reach the
queries that see them, and in every form but `loop` also other positions of their row and head.

Reading order: loop, matrix, softmax, chunk, step, shard, fused, weights. Source: Vaswani et al.,
"Attention is all you need" (2017), arXiv:1706.03762; online softmax, Milakov and Gimelshein (2018),
arXiv:1805.02867. Also known as MHA, GQA, MQA, sliding window attention, ALiBi.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..algebra import attention as looks
from ..algebra import firsts
from ..algebra.ring import appended
from ..card import Mixer, Weights
from ..comm import Piece, shared
from ..comm import ring as rings
from ..contract import SAME, Contract
from ..errors import FormError, NumberError
from ..kernels import ops
from ..shapes import chunk_size, unmixed
from ..sharding import Group
from ..state import wide


class State(NamedTuple):
    """What a call knows of earlier positions; position p of a document is in slot p mod S."""

    keys: Tensor  # [B, S, H, K], heads as k has them
    values: Tensor  # [B, S, H, V], heads as v has them
    count: Tensor  # type: ignore[assignment]  # [B] int64, positions of the document so far


CONTRACT = Contract(
    "attention", q="B T H K", k="B T H K", v="B T H V", scale=(float, None),
    window=(float, None), cap=(float, None), sinks=("H", None), slopes=("H", None), made=State,
    state=dict(keys=("B S+ H:k K", SAME), values=("B S+ H:v V", SAME), count=("B", torch.int64)),
    values="v", shared="H",
)  # fmt: skip


def loop(
    q: Tensor, k: Tensor, v: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    scale: float | None = None, window: int | None = None, cap: float | None = None,
    sinks: Tensor | None = None, slopes: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """The definition, one query after the other.

    Args:
        q, k: [B, T, H, K] queries and keys, or [B, T, G, K] for groups that share one.
        v: [B, T, H, V] values, or [B, T, G, V].
        state: of an earlier call; None is nothing seen.
        documents: [B, T] ids that never decrease; a new id sees nothing before it. None is one
            document for each row.
        scale: what q . k is multiplied by; None is 1 / sqrt(K).
        window: how many positions a query sees, itself included; None is all.
        cap: scores become cap tanh(score / cap); None leaves them.
        sinks: [H], a score for each head that takes its share of the weight and has no value.
        slopes: [H], what is taken from a score for each position between a query and a key.

    Returns:
        y: [B, T, H, V], in the dtype of v.
        state: what the next call sees.

    Raises:
        ShapeError, DtypeError, NumberError, DocumentError: one line that says what to do.

    Cost: time O(B T (S + T) H (K + V)), memory O(B (S + T) H (K + V)), T steps in sequence.
    Numerics: float32, or float64 for float64; y is rounded once to the dtype of v.

    >>> q, v = torch.zeros(1, 3, 1, 1), torch.tensor([1.0, 3.0, 8.0]).view(1, 3, 1, 1)
    >>> y, state = loop(q, q, v)  # equal scores: means of 1, of 1 3, of 1 3 8
    >>> y.flatten().tolist()
    [1.0, 2.0, 4.0]
    >>> loop(q, q, v, state=state, window=2)[0].flatten().tolist()  # of 8 1, of 1 3, of 3 8
    [4.5, 2.0, 5.5]
    >>> loop(q, q, v, sinks=torch.zeros(1))[0].flatten().tolist()  # of 1 and a sink, ...
    [0.5, 1.3333333730697632, 3.0]
    """
    sequences, how = (q, k, v), (scale, window, cap)
    look, after = _start("attention.loop", sequences, (sinks, slopes), state, documents, how)
    T, (G, R), y = q.shape[1], look.heads, []
    S = look.k.shape[3] - T
    for t in range(T):
        place, unit = look.place[:, : S + t + 1], look.unit[..., t, :]  # [B, S + t + 1], and 1
        seen = (place >= look.low[:, t : t + 1])[:, None, None]  # [B, 1, 1, S + t + 1]
        z = (look.q[..., t : t + 1, :] * look.k[..., : S + t + 1, :]).sum(-1)
        z = z if look.cap is None else look.cap * torch.tanh(unit * z / look.cap) / unit
        if look.slopes is not None:
            z = z - look.slopes[..., 0] * (t - place)[:, None, None].to(z.dtype) / unit
        z = z.masked_fill(~seen, -torch.inf)
        if look.sinks is not None:
            z = torch.cat([look.sinks[..., t, :], z.expand(*look.sinks.shape[:3], -1)], -1)
        m = z.detach().amax(-1, keepdim=True)
        e = (unit * (z - m.masked_fill(m == -torch.inf, 0))).exp()
        n = e.sum(-1, keepdim=True)
        w = (e / n.masked_fill(n == 0, 1))[..., -seen.shape[-1] :, None]
        y.append((w * look.v[..., : S + t + 1, :].masked_fill(~seen[..., None], 0)).sum(-2))
    read = torch.stack(y, 3) if y else look.v[..., :0, :]
    read = read.expand(-1, G, R, -1, -1).permute(0, 3, 1, 2, 4)
    return read.flatten(2, 3).to(v.dtype), after


def matrix(
    q: Tensor, k: Tensor, v: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    scale: float | None = None, window: int | None = None, cap: float | None = None,
    sinks: Tensor | None = None, slopes: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One triangle of scores for each head, its exp, the sums of its rows, and its product with v.

    Cost: time O(B H T (S + T) (K + V)), memory O(B H T (S + T)).
    """
    sequences, how = (q, k, v), (scale, window, cap)
    look, after = _start("attention.matrix", sequences, (sinks, slopes), state, documents, how)
    if not q.shape[1]:
        return looks.as_heads(look.v[..., :0, :], look, v), after
    with unmixed(q):
        every = slice(0, q.shape[1]), slice(0, look.k.shape[3])
        found = looks.sunk(look, every[0], looks.averaged(look, looks.scores(look, *every), *every))
    return looks.as_heads(found.y, look, v), after


def softmax(
    q: Tensor, k: Tensor, v: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    scale: float | None = None, window: int | None = None, cap: float | None = None,
    sinks: Tensor | None = None, slopes: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """torch's softmax of the masked scores, the sink beside them, and its product with v.

    Cost: time O(B H T (S + T) (K + V)), memory O(B H T (S + T)).
    """
    sequences, how = (q, k, v), (scale, window, cap)
    look, after = _start("attention.softmax", sequences, (sinks, slopes), state, documents, how)
    with unmixed(q):
        y = looks.product(looks.whole_softmax(look), look.v)
    return looks.as_heads(y, look, v), after


def chunk(
    q: Tensor, k: Tensor, v: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    scale: float | None = None, window: int | None = None, cap: float | None = None,
    sinks: Tensor | None = None, slopes: Tensor | None = None, size: int = 256,
) -> tuple[Tensor, State]:  # fmt: skip
    """Blocks of `size` queries and `size` keys, joined (online softmax); none outside a window.

    Cost: time O(B H T (S + T) (K + V)), or O(B H T (window + size) (K + V)) with a window; memory
    O(B H size^2) beyond the output, and O(B H T (S + T)) for a backward pass.
    """
    sequences, how = (q, k, v), (scale, window, cap)
    look, after = _start("attention.chunk", sequences, (sinks, slopes), state, documents, how)
    chunk_size("attention.chunk", size)
    with unmixed(q):
        y = looks.attended(look, size, window)
    return looks.as_heads(y, look, v), after


def step(
    q: Tensor, k: Tensor, v: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    scale: float | None = None, window: int | None = None, cap: float | None = None,
    sinks: Tensor | None = None, slopes: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One position at a time, as a stream delivers them: look at the state, then keep k and v.

    Cost: time O(S H (K + V)) and memory O(S H (K + V)) for each position and row.
    """
    sequences, how = (q, k, v), (scale, window, cap)
    now, new = _checked("attention.step", sequences, (sinks, slopes), state, documents, how)
    now = State(now.keys.to(wide(k.dtype)), now.values.to(wide(v.dtype)), now.count)
    y = []  # gradients add up in that dtype
    each = zip(*(x.to(wide(x.dtype)).split(1, 1) for x in sequences), strict=True)
    for t, one in enumerate(each if q.shape[1] else ()):
        now = now if new is None else now._replace(count=now.count.masked_fill(new[:, t], 0))
        look = _look(one, (sinks, slopes), now, None, how)
        with unmixed(q):
            y.append(looks.as_heads(looks.product(looks.whole_softmax(look), look.v), look, v))
        now = _after(now, one[1], one[2], None, window)
    if not y:
        look = _look(sequences, (sinks, slopes), now, None, how)
        now = _after(now, k, v, None, window)
        y = [looks.as_heads(look.v[..., :0, :], look, v)]
    return torch.cat(y, 1), State(now.keys.to(k.dtype), now.values.to(v.dtype), now.count)


@shared
def shard(
    q: Tensor, k: Tensor, v: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    scale: float | None = None, window: int | None = None, cap: float | None = None,
    sinks: Tensor | None = None, slopes: Tensor | None = None,
    slots: int | None = None, group: Group | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Each rank has a piece of time; keys and values are gathered, or go round a ring of ranks.

    `trilby.comm.dealing.chosen` is the rule. The state holds the last `slots` positions; None is
    all that a later call sees, or what `trilby.sharded` says.

    Cost: that of the best form for a piece and all that it sees; each rank sends O(B T H (K + V))
    numbers at most, and has O(B T / ranks H (K + V)) at once in a ring.
    """
    given, how, bias = (q, k, v), (scale, window, cap), (sinks, slopes)
    piece = Piece("attention.shard", CONTRACT, given + how + bias, state, documents, group, slots)
    held, _ = _checked("attention.shard", given, bias, state, None, how)
    way, most, past = rings.past(piece, given[1:], held, window)
    if way == "gather":
        old = None if state is None and piece.first else State(*past)
        y, after = MIXER.local(
            *given, old, documents, scale=scale, window=window, cap=cap, sinks=sinks, slopes=slopes
        )
    else:
        y = rings.attended(piece, given, held, bias, (looks.scaled(scale, q), window, cap), way)
    if most is not None:
        after = _after(State(*past), k, v, piece.firsts, most + 1)
    return piece.leaving(y, after, most)


def fused(
    q: Tensor, k: Tensor, v: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    scale: float | None = None, window: int | None = None, cap: float | None = None,
    sinks: Tensor | None = None, slopes: Tensor | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """torch's own kernel where it knows all that is asked, else blocks; one query has a kernel.

    Cost: time O(B H T (S + T) (K + V)), or O(B H T window (K + V)) with a window; memory
    O(B H size (S + T)) beyond the output, also for a backward pass.
    """
    sequences, how = (q, k, v), (scale, window, cap)
    before, new = _checked("attention.fused", sequences, (sinks, slopes), state, documents, how)
    if why := ops.obstacle(q):
        raise FormError(f"attention.fused: q {why} take form='chunk'")
    first = None if new is None else firsts(new)
    after = _after(before, k, v, first, window, state is None)
    call: tuple[Tensor | None, ...] = (*sequences, None, None)
    if state is not None or new is not None:
        every, where = looks.seen(sequences, before, first, window, after)
        call = *every, *where
    numbers = looks.scaled(scale, q), float(cap or 0), int(window or 0)
    return ops.softmax_attention(*call, sinks, slopes, *numbers), after


def weights(
    q: Tensor, k: Tensor, v: Tensor, state: State | None = None, documents: Tensor | None = None, *,
    scale: float | None = None, window: int | None = None, cap: float | None = None,
    sinks: Tensor | None = None, slopes: Tensor | None = None,
) -> Weights:  # fmt: skip
    """The weight of every value in every output, and what the values of the state add.

    Args:
        q, k, v, state, documents, scale, window, cap, sinks, slopes: as for every form.

    Returns:
        wei: [B, H, T, T], row = the position that reads, column = the position read.
        carried: [B, T, H, V], what the values of the state add to each position.

    For each head y is `wei @ v + carried`; `weights(...).on(v)` does it for all at once.

    Raises:
        ShapeError, DtypeError, NumberError, DocumentError: as for every form.

    Cost: memory O(B H T (S + T)).

    >>> one = torch.ones(1, 3, 1, 1)
    >>> weights(one, one, one, window=2).wei.tolist()
    [[[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]]]
    """
    sequences, how = (q, k, v), (scale, window, cap)
    look, _ = _start("attention.weights", sequences, (sinks, slopes), state, documents, how)
    S, (G, R) = look.k.shape[3] - q.shape[1], look.heads
    with unmixed(q):
        whole = looks.whole_softmax(look)
        carried = looks.product(whole[..., :S], look.v[..., :S, :])
    wei = whole[..., S:].expand(-1, G, R, -1, -1).flatten(1, 2)
    return Weights(wei.to(v.dtype), looks.as_heads(carried, look, v))


def _start(
    where: str, sequences: tuple[Tensor, Tensor, Tensor], bias: looks.Bias,
    state: State | None, documents: Tensor | None, how: looks.How,
) -> tuple[looks.Look, State]:  # fmt: skip
    """Check the contract; return what the queries look at, and the state after the call."""
    before, new = _checked(where, sequences, bias, state, documents, how)
    first = None if new is None else firsts(new)
    look = _look(sequences, bias, before, first, how)
    return look, _after(before, *sequences[1:], first, how[1], state is None)


def _checked(
    where: str, sequences: tuple[Tensor, Tensor, Tensor], bias: looks.Bias,
    state: State | None, documents: Tensor | None, how: looks.How,
) -> tuple[State, Tensor | None]:  # fmt: skip
    """Check the contract; return the state to start from, and where documents begin."""
    _, window, cap = how
    before, new, _ = CONTRACT.start(where, (*sequences, *how, *bias), state, documents)
    if window is not None and (window < 1 or window != int(window)):
        raise NumberError(
            f"{where}: window is {window!r}, expected a whole number of positions, at least 1"
        )
    if cap is not None and not cap > 0:
        raise NumberError(f"{where}: cap is {cap!r}, expected a number above 0; None is no cap")
    return State(*before), new


def _look(
    sequences: tuple[Tensor, Tensor, Tensor], bias: looks.Bias, before: State, first: Tensor | None,
    how: looks.How,
) -> looks.Look:  # fmt: skip
    """What the queries look at, in the dtype to compute in."""
    every, where = looks.seen(sequences, before, first, how[1])
    return looks.looked(every, bias, where, looks.scaled(how[0], sequences[0]), how[2])


def _after(
    before: State, k: Tensor, v: Tensor, first: Tensor | None, window: float | None,
    alone: bool = False,
) -> State:  # fmt: skip
    """The state after the positions of k and v; `alone`: it was empty."""
    slots = before.keys.shape[1] + k.shape[1]
    slots = slots if window is None else min(slots, int(window) - 1)
    (keys, values), count = appended(before[:2], before.count, (k, v), first, slots, alone)
    return State(keys, values, count)


def _best(q: Tensor, *_others: object, **_named: object) -> str:
    """`fused` on a CPU (any floating dtype, any size), `chunk` elsewhere."""
    return ops.form(q, "chunk")


def draw(
    *, B: int = 2, T: int = 13, H: int = 2, K: int = 3, V: int = 4,
    seed: int = 0, dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Random valid arguments of `loop`, time on axis 1: q, k and v.

    >>> [list(x.shape) for x in draw(B=1, T=2, H=3)]
    [[1, 2, 3, 3], [1, 2, 3, 3], [1, 2, 3, 4]]
    """
    rng = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(B, T, H, n, generator=rng, dtype=torch.float64) for n in (K, K, V))
    return q.to(dtype), k.to(dtype), v.to(dtype)


MIXER = Mixer(
    contract=CONTRACT,
    forms=dict(
        loop=loop, matrix=matrix, softmax=softmax, chunk=chunk, step=step, shard=shard, fused=fused
    ),
    absent=dict(
        scan="every query weighs the past anew, so a prefix of sums serves no second position",
    ),
    best=_best,
    weights=weights,
    draw=draw,
)
