"""Many verdicts: a table of forms by laws, and a sentence for each law that is broken."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .verdict import Verdict

_SIGN = {"holds": "ok", "broken": "BROKEN", "not run": "-"}


@dataclass(frozen=True)
class Report:
    """All verdicts of one `check`. True where every law that was run holds, and one was run.

    >>> bool(Report(()))
    False
    """

    verdicts: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        """Whether something was run and nothing is broken."""
        return any(v.ok for v in self.verdicts) and not self.failed()

    def __bool__(self) -> bool:
        return self.ok

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def failed(self) -> list[Verdict]:
        """The verdicts that a law is broken."""
        return [v for v in self.verdicts if v.outcome == "broken"]

    def first(self) -> list[Verdict]:
        """For each subject the first law that is broken: it explains the ones after it."""
        seen: dict[str, Verdict] = {}
        for verdict in self.failed():
            seen.setdefault(verdict.subject, verdict)
        return list(seen.values())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, "verdicts": [v.as_dict() for v in self.verdicts]}

    def __str__(self) -> str:
        laws = list(dict.fromkeys(v.law for v in self.verdicts))
        subjects = list(dict.fromkeys(v.subject for v in self.verdicts))
        by = {(v.subject, v.law): _SIGN[v.outcome] for v in self.verdicts}
        wide = max(map(len, subjects), default=0)
        lines = ["  ".join([" " * wide, *laws])]
        for name in subjects:
            cells = [f"{by.get((name, law), ''):{len(law)}}" for law in laws]
            lines.append("  ".join([f"{name:{wide}}", *cells]).rstrip())
        lines += [v.sentence for v in self.failed()]
        missing = [f"{v.subject} {v.law} not run: {v.sentence}" for v in self.verdicts
                   if v.outcome == "not run"]  # fmt: skip
        held = sum(v.ok for v in self.verdicts)
        return "\n".join([*lines, *missing, f"{held} of {len(self.verdicts)} hold"])
