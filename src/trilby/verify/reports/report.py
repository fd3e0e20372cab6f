"""Many verdicts: a table of laws by forms, and a sentence for all that needs one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..sizes import Setting
from ..wording import short
from .verdict import Verdict

_SIGN = {"holds": "ok", "broken": "BROKEN", "not run": "-"}


@dataclass(frozen=True)
class Report:
    """All verdicts of one `check`. True where every law that was run holds, and one was run.

    Attributes:
        mixer: what was judged.
        verdicts: one for each form and law, form by form.
        effort: how many sizes were tried.
        tried: (subject, law) -> the settings.
        seconds: how long it took.
        limits: what a module did not take, and what it said.

    >>> bool(Report("mean", ()))
    False
    """

    mixer: str
    verdicts: tuple[Verdict, ...]
    effort: str = "default"
    tried: Mapping[tuple[str, str], list[Setting]] = field(default_factory=dict)
    seconds: float = 0.0
    limits: tuple[str, ...] = ()

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
        return {
            "ok": self.ok,
            "mixer": self.mixer,
            "effort": self.effort,
            "seconds": round(self.seconds, 3),
            "sizes": self.sizes(),
            "refused": list(self.limits),
            "verdicts": [v.as_dict() for v in self.verdicts],
        }

    def sizes(self) -> list[str]:
        """One line for each law and each set of sizes that it was tried at."""
        subjects: dict[tuple[str, str], list[str]] = {}
        for (subject, law), settings in self.tried.items():
            if settings and self._ran(subject, law):
                subjects.setdefault((law, _sizes(settings)), []).append(subject)
        laws = [law for law, _ in subjects]
        return [
            f"{law}{f' ({_short(names)})' if laws.count(law) > 1 else ''}: {text}"
            for (law, text), names in sorted(subjects.items(), key=lambda i: laws.index(i[0][0]))
        ]

    def _ran(self, subject: str, law: str) -> bool:
        ran = [
            v.outcome != "not run" for v in self.verdicts if (v.subject, v.law) == (subject, law)
        ]
        return any(ran)

    def __str__(self) -> str:
        held, failed = sum(v.ok for v in self.verdicts), self.failed()
        ran = held + len(failed)
        state = "nothing was run" if not ran else f"{held} of {ran} hold"
        cut = sum(bool(v.cut) for v in self.verdicts if v.ok)
        state += f", {cut} of them not at all sizes" if cut else ""
        head = f"{self.mixer}: {state} ({self.effort}, {self.seconds:.1f} s)"
        return "\n".join([head, *self._table(), *self._paragraphs()])

    def _table(self) -> list[str]:
        """A row for each law that was run, a column for each form."""
        subjects = self._subjects()
        ran = {v.law for v in self.verdicts if v.outcome != "not run"}
        laws = [law for law in dict.fromkeys(v.law for v in self.verdicts) if law in ran]
        by = {(v.subject, v.law): _sign(v) for v in self.verdicts}
        columns = [name.removeprefix(f"{self.mixer}.") for name in subjects]
        widths = [max(len(name), 6) for name in columns]
        rows = [("", columns)]
        rows += [(law, [by.get((name, law), "") for name in subjects]) for law in laws]
        lines = []
        for law, cells in rows if laws else ():
            line = "  ".join(f"{c:{w}}" for c, w in zip(cells, widths, strict=True))
            lines.append(f"  {law:14}  {line}".rstrip())
        return lines

    def _paragraphs(self) -> Iterator[str]:
        """What broke, first law first; what was not run and why; notes; sizes."""
        first = self.first()
        for verdict in self.failed():
            after = "" if verdict in first else "  then "
            yield f"{after}{verdict.law}: {verdict.sentence}"
            if verdict in first:
                yield from (f"    {line}".rstrip() for line in verdict.detail.splitlines())
        for (law, reason), names in self._skipped().items():
            of = f" ({_short(names)})" if len(self._subjects()) > 1 else ""
            yield f"{law}{of} skipped: {reason}"
        for law, cut in {v.law: v.cut for v in self.verdicts if v.ok and v.cut}.items():
            yield f"part  {law}: {cut}"
        for text, names in self._notes().items():
            yield f"note  {_short(names)}: {text}"
        yield from (f"limit  {line}" for line in self.limits)
        yield from (f"sizes  {line}" for line in self.sizes())

    def _subjects(self) -> list[str]:
        return list(dict.fromkeys(v.subject for v in self.verdicts))

    def _skipped(self) -> dict[tuple[str, str], list[str]]:
        """(law, reason) -> the subjects on which it was not run."""
        found: dict[tuple[str, str], list[str]] = {}
        for v in self.verdicts:
            if v.outcome == "not run":
                found.setdefault((v.law, v.sentence), []).append(v.subject)
        return found

    def _notes(self) -> dict[str, list[str]]:
        notes: dict[str, list[str]] = {}
        for v in self.verdicts:
            for note in v.notes:
                notes.setdefault(f"{v.law}, {note}", []).append(v.subject)
        return notes


def _sign(verdict: Verdict) -> str:
    """`ok` where the law holds at all the sizes that its page promises, `part` at some of them."""
    return "part" if verdict.ok and verdict.cut else _SIGN[verdict.outcome]


def _short(names: list[str]) -> str:
    """`mean.loop matrix scan`."""
    first, *rest = names
    return " ".join([first, *(name.rpartition(".")[2] for name in rest)])


def _sizes(settings: list[Setting]) -> str:
    """`T 1 2 3 65, B 1-3, C 1-4, float32 float64`."""
    span = lambda values: f"{min(values)}-{max(values)}" if len(set(values)) > 1 else str(values[0])
    lengths = " ".join(str(t) for t in sorted({s.T for s in settings}))
    dtypes = " ".join(dict.fromkeys(short(s.dtype) for s in settings))
    text = f"T {lengths}, B {span([s.B for s in settings])}"
    if any(s.C > 1 for s in settings):  # a module's channels are its own
        text += f", C {span([s.C for s in settings])}"
    scales = len({(s.dtype, s.scale) for s in settings}) > len({s.dtype for s in settings})
    more = [" and extreme magnitudes"] * scales + sorted(
        {f", {s.backend}" for s in settings if s.backend}
    )
    return f"{text}, {dtypes}{''.join(more)}"
