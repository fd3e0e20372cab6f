"""Many verdicts: a table of laws by forms, and a sentence for all that needs one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...shown import html
from ...shown.lines import Line, Span, brief, columns, folded, line, plain
from ..sizes import Setting
from ..wording import short
from .merging import merged
from .verdict import Verdict

MOST = 8  # lengths that the report lists one by one
WIDE = 73  # characters of a line of sizes
FEW = 2  # forms that are named although they are all
_SIGN = {"holds": "ok", "broken": "BROKEN", "not run": "-"}


@dataclass(frozen=True, repr=False)
class Report:
    """All verdicts of one `check`. True where every law that was run holds, and one was run.

    It is not true either where sizes that the page of a law promises were not tried: `unfinished`.

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
        """Whether something was run, nothing is broken, and no size was left out."""
        return any(v.ok for v in self.verdicts) and not self.failed() and not self.unfinished()

    def __bool__(self) -> bool:
        return self.ok

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def failed(self) -> list[Verdict]:
        """The verdicts that a law is broken."""
        return [v for v in self.verdicts if v.outcome == "broken"]

    def unfinished(self) -> list[Verdict]:
        """The verdicts of which sizes were left out, for lack of time: `cut` says which and why.

        A length that the module refuses is a limit of the module, and is not left out.
        """
        return [v for v in self.verdicts if v.cut and v.outcome != "broken"]

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

    def _short_sizes(self) -> Iterator[str]:
        """One line for each law; `sizes` has the whole of it."""
        found: dict[str, list[list[Setting]]] = {}
        for (subject, law), settings in self.tried.items():
            if settings and self._ran(subject, law):
                found.setdefault(law, []).append(settings)
        for law, each in found.items():
            alike = len({_sizes(settings) for settings in each}) == 1
            every = [setting for settings in each for setting in settings]
            fewer = "" if alike else ", fewer for some forms"
            whole = f"{law}: {_sizes(every, MOST)}{fewer}"
            counted = f"{law}: {_sizes(every, MOST, named=False)}{fewer}"
            yield whole if len(whole) <= WIDE else counted

    def _ran(self, subject: str, law: str) -> bool:
        ran = [
            v.outcome != "not run" for v in self.verdicts if (v.subject, v.law) == (subject, law)
        ]
        return any(ran)

    def __str__(self) -> str:
        return "\n".join(map(plain, self.lines()))

    def __repr__(self) -> str:
        """What broke, then the count: a reader who cuts it off has the explanation."""
        first = [f"{v.law}: {v.sentence}" for v in self.first()]
        left = [plain(row) for row in self._left()]
        return brief("; ".join([*first, self._state(), *left]))

    def _repr_html_(self) -> str:
        columns = ["", *(name.removeprefix(f"{self.mixer}.") for name in self._subjects())]
        rows = [[row[0], *(_worded(cell) for cell in row[1:])] for row in self._rows()]
        broken = [
            html.sentence(f"{v.law}: {v.sentence}", v.mark)
            + html.text([line(v.grown)] if v.grown else [])
            + html.text(line(row) for row in v.detail.splitlines() if v in self.first())
            + html.folded("the lines that show it", html.text(map(line, v.reproducer.splitlines())))
            for v in self.failed()
        ]
        rest = html.text(row for row in [*self._unrun(), *self._remarks()])
        left = [html.text(self._left())] if self.unfinished() else []
        return html.box(
            html.sentence(f"{self._state()} ({self.effort}, {self.seconds:.1f} s)", _whole(self)),
            html.table(columns, rows), *broken, html.folded("skipped, notes, limits, sizes", rest),
            *left,
        )  # fmt: skip

    def lines(self, width: int | None = None) -> list[Line]:
        """What `print` shows, as lines whose parts carry marks.

        Args:
            width: columns of the terminal, into which tables and sentences are fitted; None: no
                limit.
        """
        head = line(Span(self._state(), _whole(self)), f" ({self.effort}, {self.seconds:.1f} s)")
        names = [name.removeprefix(f"{self.mixer}.") for name in self._subjects()]
        rows = self._rows()
        table = columns([[Span(""), *map(Span, names)], *rows] if rows else [], width)
        told = [*self._faults(), *self._unrun(), *self._remarks(), *self._left()]
        if width is None:
            return [head, *table, *told]
        return [
            *folded(head, width), *table, *(row for one in told for row in folded(one, width)),
        ]  # fmt: skip

    def _state(self) -> str:
        held = sum(v.outcome == "holds" for v in self.verdicts)
        ran = held + len(self.failed())
        cut = sum(v.outcome == "holds" for v in self.unfinished())
        state = f"{held} of {ran} hold" if ran else "nothing was run"
        return f"{self.mixer}: {state}" + (f", {cut} of them not at all sizes" if cut else "")

    def _rows(self) -> list[list[Span]]:
        """A row for each law that was run, a column for each form."""
        subjects = self._subjects()
        ran = {v.law for v in self.verdicts if v.outcome != "not run"}
        laws = [law for law in dict.fromkeys(v.law for v in self.verdicts) if law in ran]
        by = {(v.subject, v.law): Span(_sign(v), v.mark) for v in self.verdicts}
        return [[Span(law), *(by.get((name, law), Span("")) for name in subjects)] for law in laws]

    def _faults(self) -> Iterator[Line]:
        """What broke, first law first."""
        first = self.first()
        for verdict in self.failed():
            after = "" if verdict in first else "  then "
            yield line(after, Span(verdict.law, verdict.mark), f": {verdict.sentence}")
            if verdict.grown:
                yield line(f"    {verdict.grown}")
            if verdict in first:
                yield from (line(f"    {row}") for row in verdict.detail.splitlines())

    def _unrun(self) -> Iterator[Line]:
        """What was not run, and why."""
        idle = self._idle()
        for name, reason in idle.items():
            yield line(Span(f"{name} skipped", "dim"), f": {reason}")
        for (law, reason), every in self._skipped().items():
            names = [name for name in every if name not in idle]
            if not names:
                continue
            whole = len(names) == len(self._subjects()) > FEW
            of = f" (all {len(names)})" if whole else f" ({_short(names)})"
            of = of if len(self._subjects()) > 1 else ""
            yield line(Span(f"{law}{of} skipped", "dim"), f": {reason}")

    def _remarks(self) -> Iterator[Line]:
        """Notes, limits and sizes."""
        for text, names in self._notes().items():
            yield line(Span("note", "dim"), f"  {_short(names)}: {text}")
        yield from (line(Span("limit", "dim"), f"  {text}") for text in merged(self.limits))
        yield from (line(Span("sizes", "dim"), f"  {text}") for text in self._short_sizes())

    def _left(self) -> Iterator[Line]:
        """What was not tried, why, and what to do: the laws of which it is said, together."""
        found: dict[str, dict[str, None]] = {}
        for verdict in self.unfinished():
            found.setdefault(verdict.cut, {})[verdict.law] = None
        for cut, laws in found.items():
            yield line(Span("part", "skip"), f"  {' '.join(laws)}: {cut}")

    def _subjects(self) -> list[str]:
        return list(dict.fromkeys(v.subject for v in self.verdicts))

    def _idle(self) -> dict[str, str]:
        """The subjects on which no law was run for one reason, and the reason."""
        found: dict[str, str] = {}
        for name in self._subjects() if len(self._subjects()) > 1 else ():
            of = [v for v in self.verdicts if v.subject == name]
            reasons = {v.sentence if v.outcome == "not run" else "" for v in of}
            if len(of) > 1 and len(reasons) == 1 and "" not in reasons:
                found[name] = reasons.pop()
        return found

    def _skipped(self) -> dict[tuple[str, str], list[str]]:
        """(law, reason) -> the subjects on which it was not run."""
        found: dict[tuple[str, str], list[str]] = {}
        for v in self.verdicts:
            if v.outcome == "not run" and not v.cut:
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
    return "part" if verdict.outcome == "holds" and verdict.cut else _SIGN[verdict.outcome]


def _short(names: list[str]) -> str:
    """`mean.loop matrix scan`."""
    first, *rest = names
    return " ".join([first, *(name.rpartition(".")[2] for name in rest)])


def _sizes(settings: list[Setting], most: int | None = None, named: bool = True) -> str:
    """`T 1 2 3 65, B 1-3, C 1-4, float32 float64`.

    Of more than `most` lengths it says how many, and of dtypes where they are not `named`.
    """
    span = lambda values: f"{min(values)}-{max(values)}" if len(set(values)) > 1 else str(values[0])
    every = sorted({s.T for s in settings})
    lengths = " ".join(map(str, every))
    if most is not None and len(every) > most:
        lengths = f"{every[0]}-{every[-1]} ({len(every)} lengths)"
    kinds = list(dict.fromkeys(short(s.dtype) for s in settings))
    dtypes = " ".join(kinds) if named else f"{len(kinds)} dtypes"
    text = f"T {lengths}, B {span([s.B for s in settings])}"
    if any(s.C > 1 for s in settings):  # a module's channels are its own
        text += f", C {span([s.C for s in settings])}"
    scales = len({(s.dtype, s.scale) for s in settings}) > len({s.dtype for s in settings})
    more = [" and extreme magnitudes"] * scales + sorted(
        {f", {s.backend}" for s in settings if s.backend}
    )
    return f"{text}, {dtypes}{''.join(more)}"


def _whole(report: Report) -> str:
    failed = [verdict.mark for verdict in report.failed()]
    if not failed:
        return "ok" if report.ok else "skip"
    return "leak" if set(failed) == {"leak"} else "broken"


def _worded(cell: Span) -> Span:
    """A cell for a page, where the glyph stands before a word."""
    words = {_SIGN["broken"]: cell.mark, _SIGN["not run"]: "skipped"}
    return Span(words.get(cell.text, cell.text), cell.mark)
