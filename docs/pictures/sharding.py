"""Draws what the model of `benchmarks/cost.py` says of many ranks, in light and in dark.

    python docs/pictures/sharding.py   # reads benchmarks/results/sharding-cost.json

The colours follow the reader's setting, so both are one file.
"""

import json
import sys
from html import escape
from math import log2, log10
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BENCHMARKS = HERE.parents[1] / "benchmarks"
POSITIONS, RANKS = 10**9, [1 << n for n in range(11)]
WIDE, HIGH, LEFT, TOP, GAP = 330, 260, 56, 40, 84  # pixels of a panel and around it
STYLE = """
svg { background: #fff } text { font: 12px system-ui, sans-serif; fill: #1b1c20 }
.grid { stroke: #ddd } .ideal { stroke: #888; stroke-dasharray: 3 3; fill: none }
.line { fill: none; stroke-width: 2 } .c0 { stroke: #1f6fb4 } .c1 { stroke: #c4570c }
.c2 { stroke: #2e8540 } .c3 { stroke: #8a3ea8 } .c4 { stroke: #b3261e }
@media (prefers-color-scheme: dark) { svg { background: #16171b } text { fill: #e8e8ec }
.grid { stroke: #33353c } .c0 { stroke: #6db3f2 } .c1 { stroke: #f09a5b } .c2 { stroke: #7fd08f }
.c3 { stroke: #cf96e6 } .c4 { stroke: #f2857d } }
"""


def predicted(told: dict[str, Any]) -> dict[str, list[float]]:
    """Seconds of a call of `POSITIONS` positions on each number of ranks, by mixer."""
    sys.path.insert(0, str(BENCHMARKS))
    from cost import Machine, Pass, seconds

    fitted = told["fitted"]
    here = Machine(**fitted["machine"])
    costs = {name: Pass(**cost) for name, cost in fitted["mixers"].items()}
    return {
        name: [seconds(name, n, POSITIONS, here, cost) for n in RANKS]
        for name, cost in costs.items()
    }


def panel(x: float, title: str, ticks: list[tuple[float, str]], low: float, high: float) -> str:
    """The frame of a panel; `low` and `high` are the ends of its upright axis."""
    parts = [f'<text x="{x}" y="{TOP - 14}" font-weight="bold">{escape(title)}</text>']
    for value, text in ticks:
        y = TOP + HIGH * (high - value) / (high - low)
        parts.append(f'<path class="grid" d="M{x} {y:.1f}h{WIDE}"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    for n in RANKS[::2]:
        at = x + WIDE * log2(n) / log2(RANKS[-1])
        parts.append(f'<text x="{at:.1f}" y="{TOP + HIGH + 18}" text-anchor="middle">{n:,}</text>')
    return "".join(parts)


def line(x: float, values: list[float], low: float, high: float, kind: str) -> str:
    """One curve over the ranks."""
    points = []
    for n, value in zip(RANKS, values, strict=True):
        at = x + WIDE * log2(n) / log2(RANKS[-1])
        points.append(f"{at:.1f} {TOP + HIGH * (high - value) / (high - low):.1f}")
    return f'<path class="{kind}" d="M{"L".join(points)}"/>'


def svg(told: dict[str, Any]) -> str:
    """Both panels: the time, and how much of it one process would need for its share."""
    found = predicted(told)
    times = {name: [log10(t) for t in taken] for name, taken in found.items()}
    every = [t for taken in times.values() for t in taken]
    low, high = int(min(every)) - 1, int(max(every)) + 1
    right = LEFT + WIDE + GAP
    ticks = [(float(d), f"1e{d} s") for d in range(low, high + 1, 2)]
    parts = [panel(LEFT, f"seconds of a call of {POSITIONS:,} positions", ticks, low, high)]
    shares = [(s / 4, f"{25 * s}%") for s in range(5)]
    parts.append(panel(right, "share of it that one process would need", shares, 0, 1.02))
    for i, (name, taken) in enumerate(found.items()):
        ideal = [log10(taken[0] / n) for n in RANKS]
        parts.append(line(LEFT, ideal, low, high, "ideal"))
        parts.append(line(LEFT, times[name], low, high, f"line c{i}"))
        useful = [min(1.0, taken[0] / n / t) for n, t in zip(RANKS, taken, strict=True)]
        parts.append(line(right, useful, 0, 1.02, f"line c{i}"))
        at = LEFT + i * 120
        parts.append(f'<path class="line c{i}" d="M{at} {TOP + HIGH + 44}h20"/>')
        parts.append(f'<text x="{at + 26}" y="{TOP + HIGH + 48}">{escape(name)}</text>')
    below = TOP + HIGH + 72
    parts.append(f'<text x="{LEFT}" y="{below}">{escape(caption(told))}</text>')
    width = right + WIDE + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{below + 14}" '
        f'viewBox="0 0 {width} {below + 14}" role="img"><title>the model of cost on '
        f"{RANKS[0]} to {RANKS[-1]:,} ranks</title><style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def caption(told: dict[str, Any]) -> str:
    """The constants, and where they were measured."""
    here = told["fitted"]["machine"]
    rate = f"{1e-9 / here['byte']:.1f} GB/s" if here["byte"] else "bytes that cost nothing"
    return (
        f"Ranks across, logarithmic. Fitted: {here['message'] * 1e6:.0f} µs for a message, {rate}; "
        f"{told['machine']['cpu']}, one thread for each rank, loopback, {told['taken'][:10]}."
    )


def main() -> None:
    told = json.loads((BENCHMARKS / "results" / "sharding-cost.json").read_text("utf-8"))
    (HERE / "sharding.svg").write_text(svg(told), "utf-8")


if __name__ == "__main__":
    main()
