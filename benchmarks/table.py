"""One table of figures: rows, what was asked of them, and the same as Markdown and JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from limits import sentence
from torch import Tensor

import trilby
from trilby.bench import Timings
from trilby.bench.proof import prove

OURS = "trilby.mean(x)"
COPY = "y.copy_(x)"


@dataclass(frozen=True)
class Target:
    """One figure that was asked for, and what came."""

    what: str
    wanted: str
    got: float
    met: bool


def at_least(what: str, least: float, got: float) -> Target:
    return Target(what, f"at least {least:g}", got, got >= least)


def at_most(what: str, most: float, got: float) -> Target:
    return Target(what, f"at most {most:g}", got, got <= most)


@dataclass(frozen=True)
class Table:
    """Rows are alike: the same keys, in the order of the columns."""

    title: str
    setup: str
    rows: list[dict[str, Any]]
    targets: list[Target] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judged(x: Tensor, dy: Tensor | None = None) -> list[str]:
    """The sentences of the verdicts on the running mean of what is about to be timed."""
    return proven(trilby.mean, (x,), dy)


def proven(mixer: trilby.Mixer, arguments: tuple[Any, ...], dy: Tensor | None = None) -> list[str]:
    """The same for any mixer; a red verdict ends the table."""
    form = mixer.best(*arguments)
    verdicts = prove(mixer, form, arguments, dy=dy)
    for verdict in verdicts:
        if not verdict:
            raise SystemExit(f"refused to time {mixer.name}.{form}: {verdict}")
    return [f"{mixer.name}.{form} {verdict}" for verdict in verdicts]


def rows(
    timings: Timings,
    ours: str = OURS,
    told: Mapping[str, Mapping[str, Any]] | None = None,
    unit: tuple[str, float] = ("ms", 1e3),
) -> list[dict[str, Any]]:
    """A row for each way: median, quartiles, and how many times faster ours is.

    Args:
        told: way -> further columns, the same ones for every way.
        unit: its name, and how many there are in a second.
    """
    name, scale = unit
    made = []
    for way in timings.seconds:
        lower, upper = timings.quartiles(way)
        made.append(
            {
                "way": way,
                f"median {name}": scale * timings.median(way),
                f"lower quartile {name}": scale * lower,
                f"upper quartile {name}": scale * upper,
                "its time over ours": timings.times(ours, way),
                **(told or {}).get(way, {}),
            }
        )
    return made


def markdown(name: str, table: Mapping[str, Any]) -> str:
    """A table as it came out of the JSON file."""
    lines = [f"## {table['title']}", "", table["setup"], ""]
    lines += _grid(list(table["rows"][0]), [list(row.values()) for row in table["rows"]])
    if table["targets"]:
        met = [
            [t["what"], t["wanted"], t["got"], "met" if t["met"] else "MISSED"]
            for t in table["targets"]
        ]
        lines += ["", *_grid(["asked for", "wanted", "measured", ""], met)]
    lines += ["", *(f"- {sentence}" for sentence in table["verdicts"])]
    load = ", ".join(f"{n:.1f}" for n in table["load"])
    lines += [
        f"- table `{name}`, taken {table['taken']}, load of the machine before and after: {load}"
    ]
    if "rates" in table["machine"]:  # a table that was taken earlier has none
        lines.append(f"- {sentence(table['machine']['rates'])}")
    return "\n".join(lines)


def _grid(head: list[str], body: list[list[Any]]) -> list[str]:
    lines = [head, ["---"] * len(head), *([_cell(c) for c in row] for row in body)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return (
        f"{value:.1e}"
        if 0 < abs(value) < 1e-3
        else f"{value:.3g}"
        if value < 1000
        else f"{value:.0f}"
    )
