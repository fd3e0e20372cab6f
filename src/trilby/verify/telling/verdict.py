"""A verdict: one question about one subject, answered with its numbers."""

from dataclasses import asdict, dataclass
from typing import Any

OUTCOMES = ("holds", "broken", "not run")


@dataclass(frozen=True)
class Verdict:
    """One law applied to one subject. True only where the law was run and holds.

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

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            known = ", ".join(OUTCOMES)
            raise ValueError(f"Verdict: outcome is {self.outcome!r}, expected one of {known}")

    @property
    def ok(self) -> bool:
        """Whether the law was run and holds."""
        return self.outcome == "holds"

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return self.sentence

    def as_dict(self) -> dict[str, Any]:
        """The fields for JSON; a number that JSON cannot hold (inf, nan) becomes its name."""
        fields = {"ok": self.ok, **asdict(self)}
        return {k: str(v) if v in _UNWRITABLE or v != v else v for k, v in fields.items()}


_UNWRITABLE = (float("inf"), float("-inf"))
