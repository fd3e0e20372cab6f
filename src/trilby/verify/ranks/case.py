"""One call, made by several ranks on their pieces, or by one process on the whole of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CallError
from ...shapes import what
from ..copies.nested import leaves
from ..subjects.paths import Path, arrays, placed
from ..subjects.picking import picker
from .child import Here

Found = dict[str, Tensor]
"""y, the state by "state.name", and gradients by "d name"."""


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        way: what is called; a module, or a function.
        args, kwargs: what it is given, whole.
        names: what the tensors in them are called.
        cut: which of them are sequences `[B, T, ...]`, and cut along time.
        pieces: how many positions each rank has.
        group: the keyword by which it takes the group; empty if it takes none.
        output: what picks y from the result.
        state: whether the rest of the result is a state, the same on every rank.
        trains: whether gradients are asked for.
    """

    way: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: dict[Path, str]
    cut: frozenset[Path]
    pieces: tuple[int, ...]
    group: str = ""
    output: Any = None
    state: bool = False
    trains: bool = True

    @property
    def world(self) -> int:
        """How many ranks there are."""
        return len(self.pieces)

    def here(self, rank: int) -> slice:
        """Which positions a rank has."""
        return slice(sum(self.pieces[:rank]), sum(self.pieces[: rank + 1]))


def on_rank(here: Here, case: Case) -> Found:
    """What a rank computes of its piece; nothing where it is not among the ranks of the case."""
    if here.rank >= case.world:
        return {}
    group = {case.group: here.groups[case.world]} if case.group else {}
    return computed(case, case.here(here.rank), [here.rank], group)


def alone(_here: Here, case: Case) -> Found:
    """What one process computes of the whole."""
    return whole(case)


def whole(case: Case) -> Found:
    """The same, in this process; its loss is that of all ranks together."""
    return computed(case, slice(None), range(case.world), {})


def computed(case: Case, now: slice, shares: Sequence[int], more: dict[str, Any]) -> Found:
    """Results and gradients of one call.

    Args:
        case: the call.
        now: which positions it is given.
        shares: the ranks whose part of a loss of the state is wanted; all have a part.
        more: further keywords.
    """
    given: Any = (case.args, case.kwargs)
    real: dict[str, Tensor] = {}
    for path, x in [*arrays(case.args), *arrays(case.kwargs)]:
        fresh = (x[:, now] if path in case.cut else x).detach().clone()
        if case.trains and fresh.is_floating_point():
            real[case.names[path]] = fresh.requires_grad_()
        given = placed(given, (int(isinstance(path[0], str)), *path), fresh)
    if case.trains and isinstance(case.way, nn.Module):
        case.way.zero_grad()
        real |= {f"parameter {name}": p for name, p in case.way.named_parameters()}
    result = case.way(*given[0], **given[1], **more)
    found = _results(case, result)
    if case.trains and any(x.requires_grad for x in found.values()):
        _loss(found, sum(case.pieces), now, shares).backward()
        found |= {f"d {name}": _gradient(x) for name, x in real.items() if x.requires_grad}
    return {name: x.detach() for name, x in found.items()}


def _results(case: Case, result: Any) -> Found:
    if case.state:
        return dict(leaves(result))
    y = picker(case.output)(result)
    if not isinstance(y, Tensor):
        raise CallError(f"it returns {what(result)}, in which output= picks no tensor")
    return {"y": y}


def _loss(found: Found, T: int, now: slice, shares: Sequence[int]) -> Tensor:
    """A number that depends on all results, and on each element of them in another way."""
    loss = torch.zeros((), dtype=torch.float64)
    for name, x in found.items():
        if name == "y":
            sizes = (x.shape[0], T, *x.shape[2:])
            loss = loss + (x.double() * _weights(sizes, 0)[:, now]).sum()
        elif x.requires_grad:
            loss = loss + sum((x.double() * _weights(x.shape, 1 + r)).sum() for r in shares)
    return loss


def _weights(sizes: Sequence[int], seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(sizes), generator=rng, dtype=torch.float64)


def _gradient(x: Tensor) -> Tensor:
    """Its gradient; NaN where there is none."""
    return torch.full_like(x, torch.nan) if x.grad is None else x.grad
