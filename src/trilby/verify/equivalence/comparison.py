"""Two ways to compute: what both are called with, what they return, and what `same` answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..comparing.difference import Difference
from ..copies.nested import held, real
from ..copies.owning import Owning
from ..reports.verdict import Verdict
from ..reproducers.two_ways import reproducer
from ..wording import label

Answers = dict[str, Any]  # path -> leaf


@dataclass
class Comparison:
    """The question that `same` answers.

    Attributes:
        ways: the two functions.
        args, kwargs: what both are called with.
        names: what the ways are called in a sentence; never the same twice.
        found: what each way returned in the working dtype, for the paths that are compared.
        draws: whether a way draws random numbers of torch, which differ from dtype to dtype.
        notes: what the sentence has to say besides its numbers.
    """

    ways: tuple[Callable[..., Any], Callable[..., Any]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: tuple[str, str] = ("", "")
    found: tuple[Answers, Answers] = ({}, {})
    draws: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.names == ("", ""):
            one, two = map(label, self.ways)
            twice = (f"{one} (the first)", f"{two} (the second)")
            self.names = (one, two) if one != two else twice

    def given(self, i: int) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """The way with its arguments: what a call is made of."""
        return self.ways[i], self.args, self.kwargs

    def given_ways(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The two functions as the user gave them."""
        one, two = (way.way if isinstance(way, Owning) else way for way in self.ways)
        return one, two

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

    def answer(
        self, kind: str, text: str, difference: Difference | None = None, lead: str = ""
    ) -> "Answer":
        """The answer, with what is noted so far."""
        return Answer(kind, text, difference, tuple(self.notes), lead)


@dataclass(frozen=True)
class Answer:
    """What `same` found, as data.

    Attributes:
        kind: "same", "rounding", "different", or "" where nothing could be judged.
        text: what was found.
        difference: the worst difference, if numbers were compared.
        notes: what could not be judged, and why.
        lead: what a sentence says before the text.
    """

    kind: str
    text: str
    difference: Difference | None = None
    notes: tuple[str, ...] = ()
    lead: str = ""

    @property
    def details(self) -> str:
        """The text and the notes, without the lead."""
        return "; ".join([self.text, *self.notes])

    def verdict(self, comparison: Comparison) -> Verdict:
        """The verdict on two ways."""
        far = self.difference
        return Verdict(
            subject=" = ".join(map(label, comparison.ways)),
            law="same",
            outcome={"same": "holds", "": "not run"}.get(self.kind, "broken"),
            kind=self.kind,
            error=far.error if far else None,
            allowance=far.allowed if far else None,
            place=far.place if far else "",
            sentence=self.lead + self.details,
            reproducer=reproducer(comparison.given_ways(), comparison.args, comparison.kwargs),
            notes=self.notes,
        )
