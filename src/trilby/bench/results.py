"""Times of the forms of one mixer: a plain table, and the same as a dict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..shown import html
from ..shown.lines import Span, columns, line, plain
from ..verify import Verdict
from .clock import Timings

COPY = "y.copy_(x)"
COPIES = "y.copy_(x), twice"  # the limit of forward and backward
CUMSUM = "cumsum(x, 1) / n"


@dataclass(frozen=True, repr=False)
class Results:
    """Times of the forms of one mixer, and what a reader needs to judge them.

    Attributes:
        mixer: its name.
        shape: of x.
        dtype: of x, e.g. "float32".
        backward: whether a call is forward and backward.
        timings: seconds of the forms, of the copy (the limit) and, for a mixer of one sequence, of
            cumsum / n (the base).
        verdicts: form -> the verdicts of its checks.
        left_out: form -> one sentence saying why it was not timed.
        machine: what `trilby env` says.
    """

    mixer: str
    shape: list[int]
    dtype: str
    backward: bool
    timings: Timings
    verdicts: Mapping[str, list[Verdict]]
    left_out: Mapping[str, str]
    machine: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether every form passed its checks."""
        return all(all(verdicts) for verdicts in self.verdicts.values())

    @property
    def limit(self) -> str:
        """The copy, which only moves the memory."""
        return COPIES if self.backward else COPY

    @property
    def base(self) -> list[str]:
        """`cumsum / n` if it was timed; for several sequences it is not."""
        return [way for way in self.timings.seconds if way == CUMSUM]

    def __bool__(self) -> bool:
        return self.ok

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the attributes, `rounds`, and for each way its median and how it compares."""
        verdicts = {name: [v.as_dict() for v in told] for name, told in self.verdicts.items()}
        ways = {
            way: {
                "median_s": self.timings.median(way),
                "quartiles_s": list(self.timings.quartiles(way)),
                "of_copy": self.timings.times(way, self.limit),
                **({"times_cumsum": self.timings.times(way, CUMSUM)} if self.base else {}),
            }
            for way in self.timings.seconds
        }
        return {
            "ok": self.ok,
            "mixer": self.mixer,
            "shape": self.shape,
            "dtype": self.dtype,
            "backward": self.backward,
            "rounds": self.timings.rounds,
            "threads": self.machine["threads"],
            "ways": ways,
            "verdicts": verdicts,
            "left_out": dict(self.left_out),
            "machine": dict(self.machine),
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return "\n".join([self._title(), *self._table()])

    def _repr_html_(self) -> str:
        head, *rows = self._cells()
        judged = [line(f"{form}: {v}") for form, told in self.verdicts.items() for v in told]
        judged += [line(f"{form}: not timed, {why}") for form, why in self.left_out.items()]
        return html.box(
            html.sentence(self._title(), "ok" if self.ok else "broken"),
            html.sentence(where(self.machine)),
            html.table(head, rows),
            html.folded("how each form was verified", html.text(judged)),
        )

    def lines(self, width: int | None = None) -> list[str]:
        """The table in plain text; columns that do not fit in `width` stand below the others."""
        told = [self._title(), where(self.machine), "", *self._table(width), ""]
        for form, verdicts in self.verdicts.items():
            told += [f"{form}: {verdict}" for verdict in verdicts]
        return told + [f"{form}: not timed, {why}" for form, why in self.left_out.items()]

    def _title(self) -> str:
        what = "forward and backward" if self.backward else "forward"
        rounds = self.timings.rounds
        return f"{self.mixer} {self.shape} {self.dtype}, {what}: median of {rounds} rounds"

    def _cells(self) -> list[tuple[str, ...]]:
        head = (
            "way",
            "median",
            "quartiles",
            "of copy's speed",
            *("times cumsum" for _ in self.base),
        )
        return [head, *map(self._row, self.timings.seconds)]

    def _table(self, width: int | None = None) -> list[str]:
        rows = self._cells()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        cells = [list(map(Span, _aligned(row, widths))) for row in rows]
        return [plain(row).removeprefix("  ") for row in columns(cells, width)]

    def _row(self, way: str) -> tuple[str, ...]:
        lower, upper = self.timings.quartiles(way)
        scale, unit = _scale(self.timings.median(way))
        return (
            way,
            f"{scale * self.timings.median(way):.2f} {unit}",
            f"{scale * lower:.2f} .. {scale * upper:.2f}",
            _ratio(self.timings.times(way, self.limit)),
            *(_ratio(self.timings.times(way, base)) for base in self.base),
        )


def where(machine: Mapping[str, Any]) -> str:
    """The machine and the versions that a figure was taken with."""
    threads, versions = machine["threads"], machine["versions"]
    told = [machine["cpu"], f"{threads} thread{'' if threads == 1 else 's'}"]
    return ", ".join([*told, *(f"{name} {version}" for name, version in versions.items())])


def _scale(seconds: float) -> tuple[float, str]:
    """The factor and the unit in which a time is easy to read."""
    return next(((f, u) for f, u in ((1.0, "s"), (1e3, "ms")) if seconds * f >= 1), (1e6, "us"))


def _ratio(value: float) -> str:
    """Two decimals, or two digits where these would show nothing.

    >>> _ratio(37.5312), _ratio(0.00184)
    ('37.53', '0.0018')
    """
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """The cells of a row: the first one left-aligned, the numbers right-aligned."""
    return [row[0].ljust(widths[0])] + [
        cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
    ]
