"""A lower-triangular matrix in the terminal: row = position that reads, column = position read."""

from collections.abc import Sequence

from rich.text import Text

SHADES = " ░▒▓█"
PLAIN = " .:+#"
NUMBERS = 8  # positions up to which the numbers themselves are shown
FUTURE = "·"


def draw(wei: Sequence[Sequence[float]], *, ascii: bool = False) -> list[Text]:
    """The lines of the picture: numbers for few positions, shades for many.

    Args:
        wei: T rows of T weights. Columns after the diagonal are the future and are shown as dots;
            a weight there that is not zero is marked, because it is a leak.
        ascii: use ASCII characters for the shades.

    >>> for line in draw([[1.0, 0.0], [0.5, 0.5]]): print(line.plain.rstrip())
    reads      0      1
        0  1.000      ·
        1  0.500  0.500
    """
    T = len(wei)
    if T <= NUMBERS:
        head = Text("reads" + "".join(f"{s:7d}" for s in range(T)), style="dim")
        return [head, *(_numbers(t, row) for t, row in enumerate(wei))]
    top = max((abs(w) for row in wei for w in row), default=0.0) or 1.0
    shades = PLAIN if ascii else SHADES
    return [_shades(t, row, top, shades) for t, row in enumerate(wei)]


def _numbers(t: int, row: Sequence[float]) -> Text:
    line = Text(f"{t:5d}", style="dim")
    for s, weight in enumerate(row):
        if s <= t:
            line.append(f"{weight:7.3f}", style="bold" if s == t else "")
        else:
            line.append(f"{weight:7.3f}" if weight else f"{FUTURE:>7}", "red" if weight else "dim")
    return line


def _shades(t: int, row: Sequence[float], top: float, shades: str) -> Text:
    """Each cell is two columns wide, so that the triangle is as wide as it is high."""
    line = Text(f"{t:5d} ", style="dim")
    for s, weight in enumerate(row):
        level = round((len(shades) - 1) * (abs(weight) / top) ** 0.5)
        if s <= t:
            line.append(shades[max(level, 1)] * 2, style="red" if weight < 0 else "cyan")
        else:
            line.append("!!" if weight else f"{FUTURE} ", style="red" if weight else "dim")
    return line
