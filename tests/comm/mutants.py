"""Faults that sharded code is known for, each with a case that shows it.

A mutant changes what ranks make of what they hear, and leaves what they send and in which order, so
that no rank waits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor

from tests.comm.cases import SPLITS, Case, wrong
from trilby.comm import exchange, piece
from trilby.comm.borders import Before
from trilby.comm.piece import Piece
from trilby.comm.ranks import Ranks


class Mutant(NamedTuple):
    """A fault: what it replaces, and calls that must be wrong because of it."""

    holder: Any
    name: str
    instead: Callable[..., Any]
    mixers: tuple[str, ...]
    packed: bool = False


def _from_zero(self: Piece, join: Any, held: Any, segment: Any) -> tuple[Tensor, ...]:
    """A rank that starts from zero."""
    return tuple(0 * x for x in _entering(self, join, held, segment))


def _dropped(self: Piece, *given: Any, **how: Any) -> list[Tensor]:
    """A halo that is zeros."""
    return [0 * x for x in _halo(self, *given, **how)]


def _one_off(self: Piece, *given: Any, **how: Any) -> list[Tensor]:
    """A border that is off by one: each position of a halo is that before it."""
    return [x.roll(1, 1) for x in _halo(self, *given, **how)]


def _shifted(self: Piece, far: int, ranks: int, sent: Any, shapes: Any) -> Any:
    """A border that is off by one: a rank hears nothing from its neighbour."""
    came, own = _exchanged(self, far, ranks, sent, shapes)
    factor = 0.0 if self.ranks.rank == 1 else 1.0
    return tuple(x * factor if x.is_floating_point() else x for x in came), own


def _at_home(self: Piece, far: int, ranks: int, sent: Any, shapes: Any) -> Any:
    """A gradient that stays at home: what came is a constant."""
    came, own = _exchanged(self, far, ranks, sent, shapes)
    return tuple(x.detach() for x in came), own


def _state_at_home(ranks: Ranks, tensors: list[Tensor]) -> list[Tensor]:
    """A gradient that stays at home: that of the state is the last rank's own."""
    total = _summed(ranks, tensors)
    return tensors if ranks.rank == ranks.size - 1 else total


def _last_alone(ranks: Ranks, tensors: Any, shapes: Any, device: Any) -> list[Tensor]:
    """Right on the last rank only: every other one has the state after its own piece."""
    right = _from_last(ranks, tensors, shapes, device)
    own = [x.detach().clone() for x in tensors]
    return right if ranks.rank == ranks.size - 1 else own


def _damped(ctx: Any, *grads: Tensor) -> Any:
    """Gradients that are a tenth too small on every rank but the last."""
    found = _backward(ctx, *grads)
    last = ctx.route.ranks.rank == ctx.route.ranks.size - 1
    return found if last else tuple(x if x is None else 0.9 * x for x in found)


def _restarted(*given: Any) -> Before:
    """Documents that begin anew at every border."""
    before = _borders(*given)
    inner = dist.get_rank() > 0
    whole = torch.zeros_like(before.whole) if inner else before.whole
    fresh = before.fresh | inner
    return Before(fresh, 0 * before.reach if inner else before.reach, whole)


def _endless(*given: Any) -> Before:
    """Documents that never end at a border."""
    before = _borders(*given)
    return Before(before.fresh & False, before.reach + 99, before.whole | True)


_entering, _halo, _exchanged = Piece.entering, Piece.halo, Piece._exchanged
_summed, _from_last, _borders = Ranks.summed_at_last, Ranks.from_last, piece.borders
_backward = exchange._Exchange.backward

PREFIX = ("mean", "decay", "ema", "weighted", "linear", "delta", "kda", "selective")
HALO = ("conv", "attention")

MUTANTS: dict[str, Mutant] = {
    "starts from zero": Mutant(Piece, "entering", _from_zero, PREFIX),
    "drops the halo": Mutant(Piece, "halo", _dropped, HALO),
    "is off by one": Mutant(Piece, "halo", _one_off, HALO),
    "misses its neighbour": Mutant(Piece, "_exchanged", _shifted, ("mean", "delta", "conv")),
    "keeps gradients at home": Mutant(Piece, "_exchanged", _at_home, PREFIX + HALO),
    "keeps that of the state": Mutant(Ranks, "summed_at_last", _state_at_home, ("decay", "conv")),
    "is right on the last rank": Mutant(Ranks, "from_last", _last_alone, (*PREFIX, "conv")),
    "damps gradients": Mutant(exchange._Exchange, "backward", staticmethod(_damped), ("decay",)),
    "restarts documents": Mutant(piece, "borders", _restarted, PREFIX + HALO, packed=True),
    "never ends documents": Mutant(piece, "borders", _endless, PREFIX + HALO, packed=True),
}


def missed(few: bool = False) -> list[str]:
    """Mutants that no rank finds wrong, each mixer apart; of a few, with the first mixer alone."""
    split, found = SPLITS[dist.get_world_size()][0], []
    for name, mutant in MUTANTS.items():
        with mock.patch.object(mutant.holder, mutant.name, mutant.instead):
            for mixer in mutant.mixers[: 1 if few else None]:
                right = torch.tensor([not wrong(Case(mixer, split, True, mutant.packed, {}))])
                dist.all_reduce(right, dist.ReduceOp.MIN)
                if right:
                    found.append(f"{mixer} that {name} is not caught")
    return found
