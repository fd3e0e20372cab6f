"""A verdict: one question about one subject, answered with its numbers."""

import math
from dataclasses import dataclass, fields
from typing import Any

from ...shown import html
from ...shown.lines import brief, line
from ..comparing.growth import Growth, spelled
from ..comparing.witness import NOWHERE, Witness

OUTCOMES = ("holds", "broken", "not run")


@dataclass(frozen=True, repr=False)
class Verdict:
    """One law applied to one subject. True only where it holds at all sizes that were to be tried.

    Attributes:
        subject: what was judged, e.g. "mean.chunk".
        law: the question, e.g. "causal".
        outcome: "holds", "broken" or "not run".
        kind: what kind of answer, e.g. "same", "rounding", "different".
        error: the largest error found, in the unit of the output; None where none was measured.
        allowance: what the error may be at that place, in the same unit.
        place: path and index of the worst element, e.g. "y[0, 3, 1]".
        sentence: one line with the numbers.
        reproducer: lines of Python that show it.
        detail: lines that a report shows below the sentence: the measured triangle of a leak.
        notes: what a reader should know beside the sentence; where nothing is broken it has them
            too.
        cut: which sizes that the law's page promises were not tried, and why; empty if all were.
        witness: where the fault shows, as data; empty unless a law is broken.
        growth: of a broken law, how large the fault is at a few lengths: (T, size) pairs, the size
            in the unit of the output (of the gradient, where the fault is in it). The sentence is
            about the smallest case, which need not be the worst.

    >>> bool(Verdict("demo", "causal", "not run", sentence="T is 1"))
    False
    """

    subject: str
    law: str
    outcome: str
    kind: str = ""
    error: float | None = None
    allowance: float | None = None
    place: str = ""
    sentence: str = ""
    reproducer: str = ""
    detail: str = ""
    notes: tuple[str, ...] = ()
    witness: Witness = NOWHERE
    cut: str = ""
    growth: Growth = ()

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            known = ", ".join(OUTCOMES)
            raise ValueError(f"Verdict: outcome is {self.outcome!r}, expected one of {known}")

    @property
    def ok(self) -> bool:
        """Whether the law holds, and was tried at all sizes that its page promises."""
        return self.outcome == "holds" and not self.cut

    @property
    def mark(self) -> str:
        """How it is shown: "ok", "skip", "broken" or "leak"."""
        if self.outcome == "broken":
            return "leak" if "leak" in self.kind else "broken"
        return "ok" if self.ok else "skip"

    @property
    def grown(self) -> str:
        """The largest breach and how it grows with T; empty where no other length is known.

        >>> Verdict("demo", "causal", "broken", growth=((2, 0.5), (66, 4.0))).grown
        'largest 4 at T=66; 0.5, 4 at T=2, 66'
        """
        return spelled(self.growth)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        lead = "" if self.law == "same" else f"{self.subject} {self.law}: "
        return brief(f"{lead}{'skipped, ' if self.outcome == 'not run' else ''}{self.sentence}")

    def _repr_html_(self) -> str:
        known = {"subject": self.subject, "law": self.law, "kind": self.kind, "place": self.place}
        known |= {"error": "" if self.error is None else f"{self.error:.3g}"}
        known |= {"allowed": "" if self.allowance is None else f"{self.allowance:.3g}"}
        return html.box(
            html.sentence(self.sentence, self.mark),
            html.facts({name: value for name, value in known.items() if value}),
            html.text([line(self.grown)] if self.grown else []),
            html.text(map(line, self.detail.splitlines())),
            html.folded(
                "the lines that show it", html.text(map(line, self.reproducer.splitlines()))
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields for JSON; a number that JSON cannot hold (inf, nan) becomes its name."""
        known: dict[str, Any] = {"ok": self.ok}
        known |= {field.name: getattr(self, field.name) for field in fields(self)}
        known |= {"notes": list(self.notes), "witness": self.witness.as_dict()}
        known |= {"growth": [list(pair) for pair in self.growth]}
        return {name: _writable(value) for name, value in known.items()}


def _writable(value: Any) -> Any:
    """The value, or the name of a number that JSON cannot hold."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
