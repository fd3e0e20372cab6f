"""Softmax attention of queries that look at a past and at each other, block by block.

Which keys a query sees is one rule for windows, documents and a past: every key has a place, that
of the first query being 0 and that of the past negative, and query t sees the places low_t ... t.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..state import wide
from .groups import apart
from .ring import ages

How = tuple[float | None, float | None, float | None]  # scale, window, cap
Bias = tuple[Tensor | None, Tensor | None]  # sinks, slopes


class Look(NamedTuple):
    """What the queries of a call look at, in the dtype to compute in.

    Heads are G groups of R, and R is 1 where the heads of a group share. N = S + T: first the S
    keys of the past, in any order, then those of the call. The scores of a query are counted in a
    unit of its own, so that none overflows; what goes into exp is a difference times the unit.
    """

    q: Tensor  # [B, G, R, T, K], times the scale, in units
    unit: Tensor  # [B, G, R, T, 1], 1 or more
    k: Tensor  # [B, G, R, N, K]
    v: Tensor  # [B, G, R, N, V]
    sinks: Tensor | None  # [B, G, R, T, 1], in units
    slopes: Tensor | None  # [G, R, 1, 1]
    place: Tensor  # [B or 1, N] int64, of each key
    low: Tensor  # [B or 1, T] int64, the lowest place that a query sees; its own is the highest
    scale: float
    cap: float | None
    heads: tuple[int, int]  # G and R in full


class Averages(NamedTuple):
    """Averages over some keys: what blocks of keys are joined by.

    They are divided at once, and not at the end: so the gradient of a query that sees one key is
    exactly 0.
    """

    m: Tensor  # [B, G, R, t, 1], what is subtracted from a score before exp, the largest one
    total: Tensor  # [B, G, R, t, 1], the sum of exp((score - m) unit)
    y: Tensor  # [B, G, R, t, V], the average of the values, weighted by these


def looked(
    sequences: Sequence[Tensor], bias: Sequence[Tensor | None], where: tuple[Tensor, Tensor],
    scale: float, cap: float | None,
) -> Look:  # fmt: skip
    """A call as a `Look`.

    Args:
        sequences: q [B, T, n, K], and k [B, N, n, K] and v [B, N, n, V] with those of the past.
        bias: sinks and slopes, [n] or None; n is H or G throughout.
        where: `place` and `low`.

    >>> q, kv, where = torch.ones(1, 2, 4, 3), torch.ones(1, 2, 2, 3), (torch.zeros(1, 2),) * 2
    >>> look = looked((q, kv, kv), (None, torch.ones(4)), where, 1.0, None)
    >>> list(look.q.shape), list(look.k.shape), list(look.slopes.shape)
    ([1, 2, 2, 2, 3], [1, 2, 1, 2, 3], [2, 2, 1, 1])
    """
    dtype = wide(sequences[0].dtype)
    every = [*sequences, *(b[None, None, :, None] for b in bias if b is not None)]
    counts = [x.shape[2] for x in every]
    H, G = max(counts), min(counts)
    q, k, v, *rest = (apart(x.to(dtype), H, G) for x in every)
    given = iter(rest)
    sinks, slopes = (None if b is None else next(given)[0] for b in bias)
    size = q.detach().abs().amax(-1, keepdim=True) if q.shape[-1] else q.new_ones(*q.shape[:-1], 1)
    unit = size.clamp(min=1)
    if sinks is not None:  # of every head and query
        sinks = (sinks / unit).expand(-1, -1, max(q.shape[2], sinks.shape[1]), -1, -1)
    heads = (G, H // G if G else 0)
    return Look(q / unit * scale, unit, k, v, sinks, slopes, *where, scale, cap, heads)


def seen(
    sequences: Sequence[Tensor], past: tuple[Tensor, Tensor, Tensor], first: Tensor | None,
    window: float | None, after: tuple[Tensor, Tensor, Tensor] | None = None,
) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:  # fmt: skip
    """What `looked` takes of a call: q, and k and v behind those of the past; `place` and `low`.

    Args:
        sequences: q, k and v of the call.
        past: keys and values in rings of S slots, and how many positions there were, [B].
        first: [B, T], for each query where its document began; 0 in the document of the past.
        window: how many positions a query sees.
        after: as past, after the call. One query takes the keys from there if none was dropped.

    >>> one, past = torch.ones(1, 2, 1, 1), (torch.zeros(1, 3, 1, 1),) * 2 + (torch.tensor([4]),)
    >>> place, low = seen((one, one, one), past, None, 3)[1]  # the ring holds 3 1 2
    >>> place.tolist(), low.tolist()
    ([[-1, -3, -2, 0, 1]], [[-2, -1]])
    """
    q, k, v = sequences
    keys, values, count = past
    S, T, now = keys.shape[1], q.shape[1], torch.arange(q.shape[1], device=q.device)[None]
    place, low = now, torch.zeros_like(now)
    if S and T == 1 and after is not None and after[0].shape[1] == S + 1:
        k, v, count = after
        place, low = 1 - ages(count, S + 1), 1 - count[:, None]
    elif S:
        place = torch.cat([-ages(count, S), now.expand(len(q), T)], 1)
        low = -count[:, None].expand(-1, T)
        k, v = torch.cat([keys, k], 1), torch.cat([values, v], 1)
    if first is not None:
        low = torch.where(first > 0, first, low)
    if window is not None:
        low = torch.maximum(low, now - int(window) + 1)
    return (q, k, v), (place, low)


def scaled(scale: float | None, q: Tensor) -> float:
    """What q . k is multiplied by; None is 1 / sqrt(K).

    >>> scaled(None, torch.ones(1, 1, 1, 4))
    0.5
    """
    return max(q.shape[3], 1) ** -0.5 if scale is None else float(scale)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b for [B, G, R, m, n] and [B, G, R or 1, n, o]; one that is shared is not copied.

    >>> list(product(torch.ones(1, 2, 3, 4, 5), torch.ones(1, 2, 1, 5, 6)).shape)
    [1, 2, 3, 4, 6]
    """
    R, m = a.shape[2:4]
    if R == 1 or b.shape[2] != 1:
        return a @ b
    return (a.flatten(2, 3) @ b[:, :, 0]).unflatten(2, (R, m))


def scores(look: Look, t: slice, n: slice) -> Tensor:
    """[B, G, R, t, n] in units: first the cap, then the bias of the distance; -inf where not seen.

    >>> ones, where = torch.ones(1, 2, 1, 1), (torch.arange(2)[None], torch.zeros(1, 2))
    >>> look = looked((ones, ones, ones), (None, torch.tensor([0.5])), where, 3.0, None)
    >>> scores(look, slice(0, 2), slice(0, 2)).tolist()
    [[[[[3.0, -inf], [2.5, 3.0]]]]]
    """
    found, unit = product(look.q[..., t, :], look.k[..., n, :].mT), look.unit[..., t, :]
    if look.cap is not None:
        found = look.cap * torch.tanh(found * unit / look.cap) / unit
    place, now = look.place[:, None, n], torch.arange(t.start, t.stop, device=found.device)[:, None]
    seen = (place >= look.low[:, t, None]) & (place <= now)  # [B or 1, t, n]
    if look.slopes is not None:
        found = found - look.slopes * (now - place)[:, None, None].to(found.dtype) / unit
    return found.masked_fill(~seen[:, None, None], -torch.inf)


def averaged(look: Look, score: Tensor, t: slice, n: slice) -> Averages:
    """The averages of queries t over keys n, from their scores; 0 where every score is -inf."""
    m = score.detach().amax(-1, keepdim=True)
    m = m.clamp(min=torch.finfo(m.dtype).min)  # -inf - -inf would be NaN
    e = ((score - m) * look.unit[..., t, :]).exp()
    total = e.sum(-1, keepdim=True)
    return Averages(m, total, product(e / _divisor(total), look.v[..., n, :]))


def joined(one: Averages, other: Averages, unit: Tensor) -> Averages:
    """The averages over the keys of both; it is associative."""
    m = torch.maximum(one.m, other.m)
    a, b = ((one.m - m) * unit).exp() * one.total, ((other.m - m) * unit).exp() * other.total
    total = a + b
    n = _divisor(total)
    return Averages(m, total, a / n * one.y + b / n * other.y)


def sunk(look: Look, t: slice, found: Averages) -> Averages:
    """The averages of queries t with the sinks, which have no value."""
    if look.sinks is None:
        return found
    sinks, unit = look.sinks[..., t, :], look.unit[..., t, :]
    m = torch.maximum(found.m, sinks.detach())
    a = ((found.m - m) * unit).exp() * found.total
    total = a + ((sinks - m) * unit).exp()
    return Averages(m, total, a / _divisor(total) * found.y)


def _divisor(total: Tensor) -> Tensor:
    return total.masked_fill(total == 0, 1)


def softmax(look: Look, score: Tensor, t: slice) -> Tensor:
    """The weights of queries t, from all their scores; with sinks in one column more.

    A row whose every score is -inf is 0, where torch's softmax is NaN.
    """
    if look.sinks is not None:
        sinks = look.sinks[..., t, :]
        score = torch.cat([score.expand(*sinks.shape[:4], score.shape[-1]), sinks], -1)
    largest = score.detach().amax(-1, keepdim=True) if score.shape[-1] else score
    largest = largest.clamp(min=torch.finfo(score.dtype).min)
    score = (score - largest) * look.unit[..., t, :]
    nothing = (score == -torch.inf).all(-1, keepdim=True)
    return score.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0)


def blocks(T: int, S: int, size: int, window: int | None) -> list[tuple[slice, list[slice]]]:
    """Blocks of `size` queries, each with the blocks of the keys that it may see; no others.

    Args:
        T: queries. S: keys of the past, whose order is not known.
        size: of a block. window: how many keys a query sees.

    >>> blocks(4, 1, 2, None)  # queries 0 and 1; then 2 and 3
    [(slice(0, 2, None), [slice(0, 1, None), slice(1, 3, None)]), \
(slice(2, 4, None), [slice(0, 1, None), slice(1, 3, None), slice(3, 5, None)])]
    >>> blocks(4, 1, 2, 2)[1]  # the first of them sees 1, itself and nothing older
    (slice(2, 4, None), [slice(2, 4, None), slice(4, 5, None)])
    """
    found = []
    for t0 in range(0, T, size):
        t1 = min(t0 + size, T)
        first = 0 if window is None else max(0, t0 - window + 1)
        past = _cut(0, S, size) if window is None or t0 < window - 1 else []
        found.append((slice(t0, t1), past + _cut(S + first, S + t1, size)))
    return found


def attended(look: Look, size: int, window: int | None) -> Tensor:
    """y [B, G, R, T, V], block by block."""
    T, N = look.q.shape[3], look.k.shape[3]
    y = []
    for t, keys in blocks(T, N - T, size, window):
        found = None
        for n in keys:
            part = averaged(look, scores(look, t, n), t, n)
            found = part if found is None else joined(found, part, look.unit[..., t, :])
        assert found is not None
        y.append(sunk(look, t, found).y)
    return torch.cat(y, 3) if y else look.v[..., :0, :]


def gradients(
    look: Look, dy: Tensor, size: int, window: int | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of y to q, k, v, sinks and slopes, for `size` queries at a time.

    Args:
        dy: [B, G, R, T, V]. The others are as of `attended`.

    Returns:
        as in the look, and [G, R] for sinks and slopes; sums over the heads that share.
    """
    T, N = look.q.shape[3], look.k.shape[3]
    dq, dk, dv = torch.zeros_like(look.q), torch.zeros_like(look.k), torch.zeros_like(look.v)
    dsinks, dslopes = (dy.new_zeros(look.heads) for _ in range(2))
    for t, keys in blocks(T, N - T, size, window):
        score = torch.cat([scores(look, t, n) for n in keys], -1)
        w, above = softmax(look, score, t), dy[..., t, :]
        dw = torch.cat([product(above, look.v[..., n, :].mT) for n in keys], -1)
        mean = (w[..., : dw.shape[-1]] * dw).sum(-1, keepdim=True)
        if look.sinks is not None:
            dsinks -= (w[..., -1:] * mean).sum((0, 3, 4))
        dscore, at = w[..., : dw.shape[-1]] * (dw - mean), 0
        for n in keys:
            here = slice(at, at + n.stop - n.start)
            at = here.stop
            pulled(look, (t, n), (w[..., here], dscore[..., here], above), (dq, dk, dv, dslopes))
    return dq, dk, dv, dsinks, dslopes


def pulled(
    look: Look, at: tuple[slice, slice], of: tuple[Tensor, Tensor, Tensor],
    into: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:  # fmt: skip
    """Add the gradients of some queries over some keys to those of all.

    Args:
        at: which queries and which keys.
        of: their weights, and the gradients of their scores, [B, G, R, t, n] each; and that of y.
        into: the sums, of q, k, v and slopes.
    """
    (t, n), (w, ds, above), (dq, dk, dv, dslopes) = at, of, into
    dv[..., n, :] += _summed(w.mT @ above, look.v)
    if look.slopes is not None:
        now = torch.arange(t.start, t.stop, device=w.device)[:, None]
        far = (now - look.place[:, None, n]).to(w.dtype)[:, None, None]
        dslopes -= (ds * far).sum((0, 3, 4))
    q = look.q[..., t, :] * look.unit[..., t, :]  # is q times the scale
    if look.cap is not None:
        raw = product(look.q[..., t, :], look.k[..., n, :].mT) * look.unit[..., t, :]
        ds = ds * (1 - torch.tanh(raw / look.cap) ** 2)
    dq[..., t, :] += _summed(product(ds, look.k[..., n, :]) * look.scale, dq)
    dk[..., n, :] += _summed(ds.mT @ q, look.k)


def _summed(x: Tensor, like: Tensor) -> Tensor:
    """x [B, G, R, ...], summed over R where heads of a group share."""
    return x.sum(2, keepdim=True) if like.shape[2] == 1 else x


def apart_like(x: Tensor, look: Look) -> Tensor:
    """x [B, T, H, n] in the groups of a look: [B, G, R, T, n]."""
    return x.transpose(1, 2).unflatten(1, look.heads)


def unapart(x: Tensor) -> Tensor:
    """[B, G, R, T, n] as [B, T, G R, n]: the inverse of `apart`."""
    return x.flatten(1, 2).transpose(1, 2)


def _cut(start: int, stop: int, size: int) -> list[slice]:
    return [slice(a, min(a + size, stop)) for a in range(start, stop, size)]


def whole_softmax(look: Look) -> Tensor:
    """[B, G, R, T, N]: the weights of all queries, those of keys of the past first."""
    T, N = look.q.shape[3], look.k.shape[3]
    every = slice(0, T)
    return softmax(look, scores(look, every, slice(0, N)), every)[..., :N]


def as_heads(y: Tensor, look: Look, like: Tensor) -> Tensor:
    """[B, G, R or 1, T, V] as [B, T, H, V] in the dtype of `like`."""
    B, _, _, T, V = y.shape
    G, R = look.heads
    return y.expand(B, G, R, T, V).permute(0, 3, 1, 2, 4).flatten(2, 3).to(like.dtype)
