"""The picture at a terminal: triangles side by side, one row as a line of bars, the answer."""

import os
import shutil
import sys
from collections.abc import Sequence

from ..pooling import coarse
from ..shown.halves import LABEL, halves, ticks
from ..shown.lines import Line, Span, folded, line, plain
from ..shown.triangle import draw
from .positions import Positions
from .summary import Clause
from .tokens import place
from .triangle import Triangle

BARS, PLAIN = "▁▂▃▄▅▆▇█", "_.-:=+*#"
CELLS, LEAST, GAP, WIDTH = 48, 8, 2, 100
BESIDE = 4  # triangles in one row of pictures
MOST = 16  # triangles that are drawn


def width() -> int:
    """Columns of the terminal; WIDTH where there is none."""
    known = "COLUMNS" in os.environ or _terminal()
    return shutil.get_terminal_size().columns if known else WIDTH


def _terminal() -> bool:
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):
        return False


def drawn(
    triangles: Sequence[Triangle], where: Positions, t: int, answer: Sequence[Clause],
    *, columns: int, ascii: bool = False, colour: bool = False,
) -> list[Line]:  # fmt: skip
    """The lines of the picture.

    Args:
        t: the row whose weights are written out.
        columns: of the terminal.
        colour: half blocks, two rows in one line; otherwise one shade for each cell.
    """
    found: list[Line] = []
    there = len(triangles)
    if there > MOST:
        triangles = [triangles[i * there // MOST] for i in range(MOST)]
    many = max(1, min(BESIDE, columns // (LABEL + LEAST * (1 if colour else 2) + GAP)))
    for start in range(0, len(triangles), many):
        some = triangles[start : start + many]
        each = (columns - GAP * (len(some) - 1)) // len(some)
        found += _beside([_picture(one, each, ascii, colour) for one in some])
        found.append(line(""))
    for one in triangles:
        found += _row(one, where, t, columns, ascii)
    found.append(line(""))
    if there > MOST:
        found += folded(line(f"    {MOST} of {there} triangles are drawn here"), columns, "    ")
    for clause in answer:
        glyph = {"ok": "ok  ", "broken": "BAD "}.get(clause.mark, "    ")
        said = line(Span(glyph, clause.mark), Span(clause.text, clause.mark))
        found += folded(said, columns, "    ")
    return found


def _picture(one: Triangle, columns: int, ascii: bool, colour: bool) -> list[Line]:
    T = len(one.weights)
    wide = 1 if colour else 2
    cells = max(LEAST, min(CELLS, (columns - LABEL) // wide))
    rows, first, leaks = coarse(one.weights, cells)
    ratio = 1 if first is None else first[1]
    first = list(range(T)) if first is None else first
    name = one.name.removeprefix("layer ") if len(one.name) > columns and one.head else one.name
    titles = _titles(name, "" if ratio == 1 else f"cell = {ratio}x{ratio}, max", columns)
    if colour:
        return [*titles, *halves(rows, first, leaks)]
    room = LABEL + 2 * len(rows)
    shades = draw(rows, first, leaks, ascii=ascii, width=room, numbered=False)
    return [*titles, ticks(first, 2), *shades]


def _titles(name: str, cell: str, columns: int) -> list[Line]:
    """The name, and what a cell stands for: in one line, or in two where that is too wide."""
    parts = [f"{name}, {cell}"] if len(name) + len(cell) + 2 <= columns else [name, cell]
    said = parts if cell else [name]
    return [line(Span(s if len(s) <= columns else s[: columns - 3] + "...")) for s in said]


def _beside(pictures: list[list[Line]]) -> list[Line]:
    """Pictures in columns; each is as wide as its widest line."""
    height = max(map(len, pictures))
    found = []
    wide = [max(len(_text(row)) for row in one) for one in pictures]
    for i in range(height):
        spans: list[Span] = []
        for one, most in zip(pictures, wide, strict=True):
            row = one[i] if i < len(one) else ()
            spans += [*row, Span(" " * (most - len(_text(row)) + GAP))]
        found.append(tuple(spans))
    return found


def _text(spans: Line) -> str:
    return "".join(span.text for span in spans)


def _row(one: Triangle, where: Positions, t: int, columns: int, ascii: bool) -> list[Line]:
    """Row t: its positions as bars, those that count most, its sum and effective length."""
    row = one.weights[t]
    until = len(row) if bool(row[t + 1 :].any()) else t + 1
    room = max(LEAST, columns - LABEL)
    each = -(-until // room)
    sizes = [float(part.abs().max()) for part in row[:until].split(each)]
    top = max(sizes) or 1.0
    bars = PLAIN if ascii else BARS
    drawn = "".join(bars[round((len(bars) - 1) * size / top)] if size else " " for size in sizes)
    where = one.where or where
    reads = ", ".join(f"{place(where.tokens, s)} {w:.3g}" for s, w in one.top(t)) or "nothing"
    said = f"{one.name}: {place(where.tokens, t)} reads {reads}"
    numbers = f"; sum {float(row.sum()):.4g}, effective length {float(one.lengths()[t]):.4g}"
    return [
        *folded(line(said + numbers), columns, "    "),
        line(Span(" " * LABEL), Span(drawn.rstrip(), "weight")),
    ]


def said(lines: Sequence[Line]) -> str:
    """The lines without colour."""
    return "\n".join(map(plain, lines))
