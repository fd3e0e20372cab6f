"""A lower-triangular matrix in half blocks: two rows of cells in one line, each in its colour."""

from collections.abc import Collection, Sequence

from .lines import Line, Span, line
from .shading import DARK, colour

UPPER = "▀"
LABEL = 6  # columns that the position of a row takes, with the space after it
TICK = 10  # cells from one tick to the next

Matrix = Sequence[Sequence[float]]


def halves(wei: Matrix, first: Sequence[int], leaks: Collection[int] = ()) -> list[Line]:
    """The lines of the picture; a mark "#rrggbb/#rrggbb" has the colours of both halves.

    Args:
        wei: N rows of N weights.
        first: the position of each row and column.
        leaks: cells of the diagonal that have a weight of the future.

    >>> from trilby.shown.lines import plain
    >>> for row in halves([[1.0, 0.0], [0.5, 0.5]], [0, 1]): print(plain(row))
          0
        0 ▀▀
    """
    found = [ticks(first)]
    top = max((abs(w) for row in wei for w in row if w == w), default=0.0)
    for t in range(0, len(wei), 2):
        spans = [Span(f"{first[t]:5d} ", "dim")]
        for s in range(len(wei)):
            ahead = [s > row or (s == row and row in leaks) for row in (t, t + 1)]
            upper = colour(wei[t][s], top, ahead[0], DARK)
            below = t + 1 < len(wei)
            lower = colour(wei[t + 1][s], top, ahead[1], DARK) if below else DARK.paper
            mark = f"#{_hex(upper)}/#{_hex(lower)}"
            if spans[-1].mark == mark:
                spans[-1] = Span(spans[-1].text + UPPER, mark)
            else:
                spans.append(Span(UPPER, mark))
        found.append(tuple(spans))
    return found


def ticks(first: Sequence[int], each: int = 1) -> Line:
    """The positions of some columns, `each` characters wide, above the picture."""
    row = ""
    step = -(-TICK // each)
    for s in range(0, len(first), step):
        text = str(first[s])
        if len(row) <= s * each and s * each + len(text) <= max(len(first) * each, 1):
            row = f"{row:{s * each}}{text} "
    return line(Span(" " * LABEL + row.rstrip(), "dim"))


def _hex(rgb: tuple[int, int, int]) -> str:
    return "".join(f"{part:02x}" for part in rgb)
