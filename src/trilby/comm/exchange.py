"""Exchanges that gradients pass through: the way back is the same exchange, mirrored.

A rank's part of an exchange is one node of its graph, and every rank must run it on the way back,
or the others wait. So what a rank sends is also a result, which its own graph continues from, and
`ties` are inputs without a gradient that keep the node in the graph of all that may ask for one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .ranks import Ranks, Shape


class Route(NamedTuple):
    """Whom a rank sends to and whom it hears from; None is no rank."""

    ranks: Ranks
    to: int | None
    source: int | None


def exchange(
    route: Route, sent: Sequence[Tensor], shapes: Sequence[Shape], ties: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Send some tensors and receive others.

    Args:
        route: to whom, and from whom.
        sent: what is sent.
        shapes: of what comes; zeros where there is no source.
        ties: tensors of which the first requires a gradient where any rank wants one.

    Returns:
        What came, and what was sent, which the graph has to continue from.
    """
    found = _Exchange.apply(route, shapes, len(sent), *sent, *ties)
    return found[: len(shapes)], found[len(shapes) :]


def leave(
    ranks: Ranks, y: Tensor, state: Sequence[Tensor], shapes: Sequence[Shape],
    held: Sequence[Tensor], ties: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """y as it is, and the state of the last rank on every rank.

    Args:
        ranks: who shares the sequence.
        y: of this piece.
        state: after this piece.
        shapes: of the state after the last one.
        held: the state that the sequence started from; from here its gradient is 0, so that it has
            one on every rank.
        ties: as of `exchange`.
    """
    y, *after = _Leave.apply(ranks, shapes, len(state), y, *state, *held, *ties)
    return y, after


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, route: Route, shapes: Sequence[Shape], n: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        sent, ctx.ties, ctx.route = tensors[:n], len(tensors) - n, route
        ctx.back = route.ranks.back()
        ctx.device = tensors[-1].device
        came = route.ranks.exchanged(sent, route.to, shapes, route.source, ctx.device)
        own = [x.detach() for x in sent]  # no views, which could not be changed in place
        ctx.floats = [x.is_floating_point() for x in (*came, *own)]
        ctx.came, ctx.sent = len(came), _shapes(x for x in sent if x.is_floating_point())
        fixed = [x for x in (*came, *own) if not x.is_floating_point()]
        ctx.mark_non_differentiable(*fixed)
        return *came, *own

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        wanted = [g if real else None for g, real in zip(grads, ctx.floats, strict=True)]
        came, own = wanted[: ctx.came], wanted[ctx.came :]
        _, to, source = ctx.route
        sent = [g for g in came if g is not None]
        back = iter(ctx.back.exchanged(sent, source, ctx.sent, to, ctx.device))
        whole = [None if g is None else g + next(back) for g in own]
        return None, None, None, *whole, *[None] * ctx.ties


class _Leave(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, ranks: Ranks, shapes: Sequence[Shape], n: int, y: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        state, held = tensors[:n], tensors[n : 2 * n]
        ctx.ranks, ctx.state, ctx.held = ranks.back(), _shapes(state), _shapes(held)
        ctx.ties = len(tensors) - 2 * n
        after = ranks.from_last(state, shapes, y.device)
        ctx.mark_non_differentiable(*(x for x in after if not x.is_floating_point()))
        return y.detach(), *after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *grads: Tensor) -> tuple[Tensor | None, ...]:
        real = [dtype.is_floating_point for _, dtype in ctx.state]
        sums = ctx.ranks.summed_at_last([g for g, r in zip(grads, real, strict=True) if r])
        if ctx.ranks.rank < ctx.ranks.size - 1:
            sums = _zeros([s for s in ctx.state if s[1].is_floating_point], dy)
        given = iter(sums)
        first = [next(given) if r else None for r in real]
        zeros = [z if r else None for z, r in zip(_zeros(ctx.held, dy), real, strict=True)]
        return None, None, None, dy, *first, *zeros, *[None] * ctx.ties


def _shapes(tensors: Any) -> list[Shape]:
    return [(tuple(x.shape), x.dtype) for x in tensors]


def _zeros(shapes: Sequence[Shape], like: Tensor) -> list[Tensor]:
    return [like.new_zeros(sizes, dtype=dtype) for sizes, dtype in shapes]
