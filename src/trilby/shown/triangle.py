"""A lower-triangular matrix: row = position that reads, column = position read."""

from collections.abc import Collection, Sequence

from .html import numbers, text
from .lines import Line, Span, line

SHADES = " ░▒▓█"
PLAIN = " .:+#"
NUMBERS = 8  # positions up to which the numbers themselves are shown
MOST = 48  # positions up to which each has its own cell
LABELS = 6  # columns that the position of a row takes, with the space after it
FUTURE = "·"

Matrix = Sequence[Sequence[float]]


def draw(
    wei: Matrix,
    first: Sequence[int] | None = None,
    leaks: Collection[int] = (),
    *,
    ascii: bool = False,
    numbered: bool = True,
    width: int | None = None,
) -> list[Line]:
    """The lines of the picture: numbers for few positions, shades for many.

    Args:
        wei: T rows of T weights. Columns after the diagonal are the future and are shown as dots;
            a weight there that is not zero is marked, because it is a leak.
        first: the position of each row where a row stands for several.
        leaks: cells of the diagonal that stand for several weights and have one of the future.
        ascii: use ASCII characters for the shades.
        numbered: whether few positions are shown as numbers.
        width: of the terminal; where it is too narrow, the cells are.

    >>> from trilby.shown.lines import plain
    >>> for row in draw([[1.0, 0.0], [0.5, 0.5]]): print(plain(row))
    reads      0      1
        0  1.000      ·
        1  0.500  0.500
    """
    T = len(wei)
    if T <= NUMBERS and numbered and first is None:
        each = 7 if width is None or width >= 5 + 7 * T else 6
        head = line(Span("reads" + "".join(f"{s:{each}d}" for s in range(T)), "dim"))
        return [head, *(_numbers(t, row, each) for t, row in enumerate(wei))]
    top = max((abs(w) for row in wei for w in row if w == w), default=0.0) or 1.0
    shades = PLAIN if ascii else SHADES
    each = 2 if width is None or width >= LABELS + 2 * T else 1
    rows = [_shades(t, row, top, shades, each, t in leaks) for t, row in enumerate(wei)]
    if first is None:
        return rows
    return [(Span(f"{t:5d} ", "dim"), *row[1:]) for t, row in zip(first, rows, strict=True)]


def picture(wei: Matrix, first: Sequence[int] | None = None, leaks: Collection[int] = ()) -> str:
    """The same as HTML: a table of numbers for few positions, shades for many.

    Args:
        first, leaks: as for `draw`.
    """
    if len(wei) <= NUMBERS and first is None:
        return numbers(wei, _mark)
    return text(draw(wei, first, leaks, numbered=False), True)


def _mark(t: int, s: int, weight: float) -> str:
    if s > t:
        return "leak" if weight else "dim"
    return "negative" if weight < 0 else "weight"


def _numbers(t: int, row: Sequence[float], each: int) -> Line:
    parts = [Span(f"{t:5d}", "dim")]
    for s, weight in enumerate(row):
        mark = _mark(t, s, weight) if s > t else ""
        number = f"{weight:{each}.{each - 4}f}"  # with a sign, and a space before it
        parts.append(Span(f"{FUTURE:>{each}}" if mark == "dim" else number, mark))
    return tuple(parts)


def _shades(t: int, row: Sequence[float], top: float, shades: str, each: int, leaks: bool) -> Line:
    """A cell that is two columns wide is as wide as it is high."""
    parts = [Span(f"{t:5d} ", "dim")]
    for s, weight in enumerate(row):
        share = abs(weight) / top if weight == weight else 1.0
        level = round((len(shades) - 1) * min(1.0, share) ** 0.5)
        leak = (s > t and weight != 0) or (s == t and leaks)
        sign = "!" if leak else shades[max(level, 1)] if s <= t else _future(shades)
        cell = f"{sign:{each}}" if sign == _future(shades) else sign * each
        mark = "leak" if leak else _mark(t, s, weight)
        if parts[-1].mark == mark and len(parts) > 1:
            parts[-1] = Span(parts[-1].text + cell, mark)
        else:
            parts.append(Span(cell, mark))
    return tuple(parts)


def _future(shades: str) -> str:
    """What stands for the future; in ASCII a dot is a weight, so nothing does."""
    return " " if shades == PLAIN else FUTURE
