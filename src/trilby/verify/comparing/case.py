"""Two ways to compute, what both are called with, and what they gave back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from ..copies.nested import held, real
from ..telling.reproducer import reproducer
from ..telling.verdict import Verdict
from .gap import Gap, short

Leaves = dict[str, Any]  # path -> leaf


@dataclass
class Case:
    """The question that `same` answers.

    Attributes:
        found: what each way returned in the working dtype, for the paths that are compared.
        draws: whether a way draws random numbers of torch, which differ from dtype to dtype.
        notes: what the sentence has to say besides its numbers.
    """

    ways: tuple[Callable[..., Any], Callable[..., Any]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    found: tuple[Leaves, Leaves] = ({}, {})
    draws: bool = False
    notes: list[str] = field(default_factory=list)

    def given(self, i: int) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """The way with its arguments: what a call is made of."""
        return self.ways[i], self.args, self.kwargs

    @property
    def names(self) -> tuple[str, str]:
        """What the ways are called in a sentence; never the same twice."""
        one, two = map(label, self.ways)
        return (one, two) if one != two else (f"{one} (the first)", f"{two} (the second)")

    @property
    def working(self) -> torch.dtype:
        """The coarsest dtype of the numbers given, which is all that a Python number can show."""
        dtypes = [t.dtype for t in held((self.ways, self.args, self.kwargs))]
        return max(dtypes, key=lambda d: torch.finfo(d).eps, default=torch.get_default_dtype())

    def floating(self) -> list[str]:
        """The paths whose leaves hold real numbers."""
        return [path for path, leaf in self.found[0].items() if real(leaf)]

    def dtype(self, path: str) -> torch.dtype:
        """The dtype whose rounding a leaf shows."""
        leaf = self.found[0][path]
        return leaf.dtype if isinstance(leaf, Tensor) else self.working

    def coarser(self, path: str) -> float:
        """A unit of a result in units of the coarsest input; 1 where that is the coarser one.

        A result in a coarser dtype than the inputs cannot tell them from inputs rounded to it.
        """
        return max(1.0, torch.finfo(self.dtype(path)).eps / torch.finfo(self.working).eps)

    def verdict(self, kind: str, sentence: str, gap: Gap | None = None) -> Verdict:
        """The answer, in one line; kind "" says that nothing could be judged."""
        outcome = {"same": "holds", "": "not run"}.get(kind, "broken")
        text = "; ".join([sentence, *self.notes])
        subject = " = ".join(map(label, self.ways))
        return Verdict(
            subject=subject,
            law="same",
            outcome=outcome,
            kind=kind,
            error=gap.error if gap else None,
            allowance=gap.allowed if gap else None,
            place=gap.place if gap else "",
            sentence=text,
            reproducer=reproducer(self.ways, self.args, self.kwargs),
        )


def label(way: Any) -> str:
    """What a way is called.

    >>> label(torch.exp), label(torch.nn.Linear(1, 1)), label(torch.nn.Linear(1, 1).forward)
    ('exp', 'Linear', 'Linear.forward')
    """
    if isinstance(way, partial):
        return label(way.func)
    if isinstance(way, MethodType):
        return f"{type(way.__self__).__name__}.{way.__name__}"
    return getattr(way, "__name__", type(way).__name__)


def told(error: Exception) -> str:
    """An exception in one line."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first:.160}" if first else type(error).__name__


def described(leaf: Any) -> str:
    """A leaf in three words: its dtype and shape, or its value."""
    if isinstance(leaf, Tensor):
        return f"{short(leaf.dtype)} {list(leaf.shape)}"
    return f"{type(leaf).__name__} {leaf!r:.40}"
