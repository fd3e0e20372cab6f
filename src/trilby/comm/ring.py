"""Softmax attention of pieces, while keys and values pass from rank to rank.

A rank holds its own queries and one block of keys and values. Each block adds to the triple of
every query that sees it: the largest score, the sum of the exponentials, the average of the values.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..algebra import online
from ..algebra.attention import Averages, Look, apart_like, as_heads, sunk, unapart
from ..algebra.ring import ages, continued
from ..shapes import unmixed
from .dealing import Chunk, Deal, chosen
from .piece import Piece
from .ranks import Ranks, Shape

SIZE = 256  # of a block of scores


class Ring:
    """The ranks of a group, each with its chunks of a sequence.

    Args:
        ranks: who shares the sequence.
        deal: who has which chunks.
    """

    def __init__(self, ranks: Ranks, deal: Deal) -> None:
        self.ranks, self.deal, self.rank = ranks, deal, ranks.rank
        self.chunks = deal.held[ranks.rank]

    def back(self) -> "Ring":
        """The same on the way back."""
        return Ring(self.ranks.back(), self.deal)

    def swapped(self, tensors: Sequence[Tensor], back: bool = False) -> list[Tensor]:
        """[B, n, ...] each, of this rank's piece, as those of its chunks; or the other way."""
        partner = self.deal.partner(self.rank)
        if partner is None:
            return list(tensors)
        own, other = (self.deal.lengths[r] // 2 for r in (self.rank, partner))
        gone, come = (other, own) if back else (own, other)
        sent = [x[:, x.shape[1] - gone :] for x in tensors]
        shapes = [((len(x), come, *x.shape[2:]), x.dtype) for x in tensors]
        came = self.ranks.exchanged(sent, partner, shapes, partner, tensors[0].device)
        pairs = zip(tensors, came, strict=True)
        return [torch.cat([x[:, : x.shape[1] - gone], new], 1) for x, new in pairs]

    def cut(self, x: Tensor, dim: int = 1) -> list[Tensor]:
        """What a rank has, chunk by chunk."""
        return list(x.split([chunk.n for chunk in self.chunks], dim))

    def blocks(self, own: Sequence[Tensor]) -> Iterator[tuple[int, Sequence[Tensor]]]:
        """The keys and values that this rank needs, and whose they are; its own ones first."""
        size, block = len(self.deal.lengths), own
        yield self.rank, own
        for step in range(1, size):
            to, source = (self.rank + 1) % size, (self.rank - 1) % size
            before, owner = (self.rank - step + 1) % size, (self.rank - step) % size
            sent = block if self.deal.hops(before, step) else []
            shapes = _sized(own, self.deal.positions(owner)) if self.deal.hops(owner, step) else []
            block = self.ranks.exchanged(sent, to, shapes, source, own[0].device)
            yield owner, block or [x[:, :0] for x in own]

    def home(self, owner: int, found: Sequence[Tensor]) -> Sequence[Tensor]:
        """Give the gradients of a block to whom it belongs; those of the own block that came."""
        size = len(self.deal.lengths)
        if owner == self.rank:
            return found
        asker = (2 * self.rank - owner) % size
        sent = found if self.deal.needs(self.rank, owner) else []
        n = self.deal.positions(self.rank) if self.deal.needs(asker, self.rank) else 0
        return self.ranks.exchanged(sent, owner, _sized(found, n), asker, found[0].device)

    def met(self, looks: Sequence[Look], owner: int, block: Sequence[Tensor]) -> Iterator[Any]:
        """Every chunk of queries with every chunk of keys that it sees, in one block.

        Returns:
            Which chunk of queries, the look, the lowest place, and where in the block the keys are.
        """
        at = 0
        for keys in self.deal.held[owner]:
            here = slice(at, at + keys.n)
            at = here.stop
            for i, (chunk, look) in enumerate(zip(self.chunks, looks, strict=True)):
                if chunk.sees(keys, self.deal.window):
                    start = keys.start - chunk.start
                    place = torch.arange(start, start + keys.n, device=look.q.device)[None]
                    k, v = (x[:, here] for x in block)
                    yield i, online.meeting(look, k, v, place), start, here


class Given(NamedTuple):
    """The tensors of a call."""

    q: Tensor  # [B, L, n, K], of this piece, as k, v and low
    k: Tensor
    v: Tensor
    low: Tensor  # [B, L] int64, the lowest place that each query sees
    keys: Tensor  # [B, S, n, K] of the past, which every rank has
    values: Tensor
    seen: Tensor  # [B] int64, how many positions that is
    sinks: Tensor | None
    slopes: Tensor | None


class How(NamedTuple):
    """What a query does with what it sees."""

    scale: float
    window: int | None
    cap: float | None


def past(
    piece: Piece, sequences: Sequence[Tensor], held: Sequence[Tensor], window: float | None
) -> tuple[str, int | None, tuple[Tensor, ...]]:
    """How a call is shared out, and the keys and values that come from others for that.

    Args:
        piece: the call.
        sequences: keys and values of this piece.
        held: the state of the call: keys and values, and how many positions there were.
        window: how many positions a query sees.

    Returns:
        - "gather", "ring" or "even", as of `chosen`;
        - how many positions the state after the call holds at most;
        - keys, values and count before this piece, in rings: what its queries see, or, where keys
          pass round, what the state needs.
    """
    limit = None if window is None else int(window)
    way = chosen(piece.lengths, limit, piece.slots)
    seen = None if limit is None else limit - 1
    limits = [n for n in (seen, piece.slots) if n is not None]
    most = min(limits) if limits else None
    near = seen if way == "gather" else most
    count = piece.before.reach + held[2] * piece.before.whole
    keys, values = continued(held[:2], held[2], piece.halo(sequences, near), count, near)
    return way, most, (keys, values, count)


def attended(
    piece: Piece, sequences: Sequence[Tensor], held: Sequence[Tensor],
    bias: Sequence[Tensor | None], how: tuple[float, float | None, float | None], way: str,
) -> Tensor:  # fmt: skip
    """y [B, L, H, V] of a piece, while keys and values pass round.

    Args:
        piece: the call.
        sequences: q, k and v of this piece.
        held: the state of the call.
        bias: sinks and slopes.
        how: scale, window and cap.
        way: "ring" or "even".
    """
    scale, window, cap = how
    limit = None if window is None else int(window)
    ring = Ring(piece.ranks, Deal(piece.lengths, limit, way == "even"))
    low = _lowest(piece, held[2], limit)
    (q, k, v), (keys, values, count), (sinks, slopes) = sequences, held, bias
    given = Given(q, k, v, low, keys, values, count, sinks, slopes)
    y: Tensor = _Attend.apply(ring, How(scale, limit, cap), *given, *piece.ties)
    return y


def _lowest(piece: Piece, count: Tensor, window: int | None) -> Tensor:
    """[B, L]: the lowest place that each query of a piece sees; those of the past are negative."""
    start, L = sum(piece.lengths[: piece.ranks.rank]), piece.lengths[piece.ranks.rank]
    low = torch.where(piece.before.whole, -count, start - piece.before.reach)[:, None]
    low = low.expand(-1, L)
    if (first := piece.firsts) is not None:
        low = torch.where(first > 0, start + first, low)
    if window is None:
        return low
    return torch.maximum(low, torch.arange(start, start + L, device=low.device) - window + 1)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ring: Ring, how: How, *tensors: Any) -> Tensor:
        given = Given(*tensors[: len(Given._fields)])
        ctx.ring, ctx.how, ctx.ties = ring, how, len(tensors) - len(given)
        mine = given._replace(**dict(zip(Given._fields, ring.swapped(given[:4]), strict=False)))
        with unmixed(given.q):
            looks = _looks(ring, how, mine)
            found = [online.unseen(look) for look in looks]
            for owner, block in ring.blocks(mine[1:3]):
                for i, look, start, _ in ring.met(looks, owner, block):
                    online.add_keys(found[i], look, start, SIZE)
            for i, look in _past(mine, ring.chunks, looks):
                online.add_keys(found[i], look, -1, SIZE)
            every = zip(looks, found, strict=True)
            finals = [sunk(look, slice(None), one) for look, one in every]
        y = [as_heads(one.y, look, given.v) for look, one in zip(looks, finals, strict=True)]
        kept = [x for final in finals for x in final]
        ctx.save_for_backward(*mine, *kept)
        return ring.swapped([torch.cat(y, 1)], back=True)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        ring, how, n = ctx.ring.back(), ctx.how, len(Given._fields)
        mine, flat = Given(*ctx.saved_tensors[:n]), ctx.saved_tensors[n:]
        finals = [Averages(*flat[i : i + 3]) for i in range(0, len(flat), 3)]
        (dy,) = ring.swapped([dy])
        with unmixed(dy):
            looks = _looks(ring, how, mine)
            parts = zip(ring.cut(dy), looks, strict=True)
            above = [apart_like(part.to(look.q.dtype), look) for part, look in parts]
            sums = _Sums(mine, looks)
            every = list(zip(looks, finals, above, strict=True))
            dk, dv = _around(ring, mine[1:3], every, sums)
            past = _behind(mine, ring.chunks, every, sums)
        dq = torch.cat([unapart(x) for x in sums.q], 1)
        own = [d.to(x.dtype) for d, x in zip((dq, dk, dv), mine[:3], strict=True)]
        own = ring.swapped(own, back=True)
        bias = [_as_bias(d, x) for d, x in zip(sums.bias, mine[-2:], strict=True)]
        return None, None, *own, None, *past, None, *bias, *[None] * ctx.ties


def _looks(ring: Ring, how: How, given: Given) -> list[Look]:
    """The queries of each chunk; their own first place is 0."""
    parts = zip(ring.chunks, ring.cut(given.q), ring.cut(given.low), strict=True)
    bias = given.sinks, given.slopes
    return [
        online.asking((q, given.k, given.v), bias, low - chunk.start, how.scale, how.cap)
        for chunk, q, low in parts
    ]


class _Sums:
    """Gradients that are added up on this rank: of its queries, of sinks and of slopes."""

    def __init__(self, given: Given, looks: Sequence[Look]) -> None:
        self.q = [torch.zeros_like(look.q) for look in looks]
        self.bias = [looks[0].q.new_zeros(looks[0].heads) for _ in given[-2:]]

    def add(self, i: int, look: Look, start: int, final: Averages, dy: Tensor) -> list[Tensor]:
        """Those of chunk i over the keys of a look; returns those of the keys and values."""
        k, v = torch.zeros_like(look.k), torch.zeros_like(look.v)
        into = online.Gradients(self.q[i], k, v, *self.bias)
        online.add_gradients(into, look, final, dy, start, SIZE)
        return [unapart(k), unapart(v)]


Every = Sequence[tuple[Look, Averages, Tensor]]
"""The chunks of a rank: their queries, the triples of these, the gradients of y."""


def _around(ring: Ring, own: Sequence[Tensor], every: Every, sums: _Sums) -> list[Tensor]:
    """The gradients of the keys and values of this rank, from all ranks that saw them."""
    looks, dtype = [look for look, _, _ in every], every[0][0].q.dtype
    total = [torch.zeros_like(x, dtype=dtype) for x in own]
    for owner, block in ring.blocks(own):
        part = [torch.zeros_like(x, dtype=dtype) for x in block]
        for i, look, start, here in ring.met(looks, owner, block):
            for whole, d in zip(part, sums.add(i, look, start, *every[i][1:]), strict=True):
                whole[:, here] += d
        for whole, d in zip(total, ring.home(owner, part), strict=True):
            whole[:, : d.shape[1]] += d  # all of them or none
    return total


def _behind(given: Given, chunks: Sequence[Chunk], every: Every, sums: _Sums) -> list[Tensor]:
    """This rank's share of the gradients of the past; and those of the sinks."""
    dtype = every[0][0].q.dtype
    shares = [torch.zeros_like(x, dtype=dtype) for x in given[4:6]]
    for i, look in _past(given, chunks, [look for look, _, _ in every]):
        for whole, d in zip(shares, sums.add(i, look, -1, *every[i][1:]), strict=True):
            whole += d
    for look, final, dy in every:
        online.add_gradient_of_sinks(sums.bias[0], look, final, dy)
    return [d.to(x.dtype) for d, x in zip(shares, given[4:6], strict=True)]


def _past(
    given: Given, chunks: Sequence[Chunk], looks: Sequence[Look]
) -> Iterator[tuple[int, Look]]:
    """Every chunk of queries with the keys of the past."""
    S = given.keys.shape[1]
    for i, (chunk, look) in enumerate(zip(chunks, looks, strict=True)):
        if S and chunk.n:
            place = -ages(given.seen, S) - chunk.start
            yield i, online.meeting(look, given.keys, given.values, place)


def _as_bias(d: Tensor, bias: Tensor | None) -> Tensor | None:
    """[G, R] as a bias of every head, or of every group."""
    if bias is None:
        return None
    return (d.flatten() if len(bias) == d.numel() else d.sum(1)).to(bias.dtype)


def _sized(like: Sequence[Tensor], n: int) -> list[Shape]:
    """The shapes of such tensors with n positions; none without positions."""
    return [((len(x), n, *x.shape[2:]), x.dtype) for x in like]
