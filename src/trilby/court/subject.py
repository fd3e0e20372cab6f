"""What stands before the court: one way to compute a mixer, and how to draw its arguments."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .entitled import Entitled, entitled, pinned
from .nest import clone, leaves, numbers
from .verdict import Verdict

Arguments = tuple[Tensor, ...]
Leaves = list[tuple[str, Any]]


@dataclass(frozen=True)
class Subject:
    """A function `call(*sequences, state=None) -> (y, state)`; every sequence has time on axis 1.

    Attributes:
        name: what a verdict calls it, e.g. "mean.scan".
        call: the function that is judged.
        reference: the definition that it is held against, with the same contract.
        draw: `draw(B=, T=, seed=, dtype=)` -> valid sequences.
    """

    name: str
    call: Callable[..., Any]
    reference: Callable[..., Any]
    draw: Callable[..., Arguments]

    def run(self, sequences: Arguments, state: Any = None) -> Any:
        """One call on copies, with random numbers pinned: (y, state)."""
        given, past = clone(sequences), clone(state)
        with pinned():
            return self.call(*given, state=past)

    def outputs(self, sequences: Arguments, state: Any = None) -> Leaves:
        """One call, flattened and copied."""
        return leaves(clone(self.run(sequences, state)))

    def past(self, B: int, dtype: torch.dtype = torch.float64) -> Any:
        """A state that some past left behind: that of the reference after three positions."""
        with torch.no_grad(), pinned():
            return clone(self.reference(*self.draw(B=B, T=3, seed=77, dtype=dtype))[1])

    def entitled(self, sequences: Arguments, state: Any = None) -> list[Entitled]:
        """What this way is entitled to at these arguments."""
        return entitled(self.call, sequences, {"state": state})

    def verdict(self, law: str, outcome: str, kind: str = "", **more: Any) -> Verdict:
        """A verdict about this subject."""
        return Verdict(self.name, law, outcome, kind, **more)

    def holds(self, law: str, sentence: str, error: float = 0.0) -> Verdict:
        """The verdict that a law was run and holds."""
        return self.verdict(law, "holds", error=error, sentence=sentence)


def differences(
    found: Leaves, wanted: Leaves, allowed: list[Tensor]
) -> Iterator[tuple[str, float, float]]:
    """(place, error, allowance) of the worst element of each leaf that is beyond its allowance.

    Tensors of other shape or dtype, and other structures, differ by infinity.
    """
    if [p for p, _ in found] != [p for p, _ in wanted]:
        yield "the structure of the result", torch.inf, 0.0
        return
    for (path, a), (_, b), limit in zip(found, wanted, allowed, strict=True):
        if not isinstance(a, Tensor) or not isinstance(b, Tensor):
            if a is not b and a != b:
                yield path, torch.inf, 0.0
        elif a.shape != b.shape or a.dtype != b.dtype:
            yield f"the shape or dtype of {path}", torch.inf, 0.0
        elif a.numel():
            worst = _worst(path, a.double(), b.double(), limit if numbers(a) else torch.zeros(()))
            if worst is not None:
                yield worst


def index_of(path: str, flat: int, shape: torch.Size) -> str:
    """The name of one element: `y[0, 3, 1]`.

    >>> index_of("y", 3, torch.Size([2, 2]))
    'y[1, 1]'
    """
    place = [int(i) for i in torch.unravel_index(torch.tensor(flat), shape)]
    return f"{path}{place}" if place else path


def _worst(path: str, a: Tensor, b: Tensor, limit: Tensor) -> tuple[str, float, float] | None:
    equal = (a == b) | (a.isnan() & b.isnan())
    error = torch.where(equal, 0.0, (a - b).abs()).nan_to_num(torch.inf, torch.inf)
    excess = torch.where(equal, -1.0, error - limit.nan_to_num(0, 0, 0))
    at = int(excess.argmax())
    if float(excess.flatten()[at]) <= 0:
        return None
    most = limit.nan_to_num(0, 0, 0).expand_as(error).flatten()[at]
    return index_of(path, at, a.shape), float(error.flatten()[at]), float(most)
