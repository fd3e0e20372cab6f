"""Marked lines as a terminal takes them, without a program that draws for us."""

import os
import sys
from collections.abc import Iterable

from .lines import Line, Span

CODES = {"ok": "32", "broken": "1;31", "leak": "1;35", "negative": "31", "weight": "36", "dim": "2",
         "skip": "2"}  # fmt: skip
STEPS = (0, 95, 135, 175, 215, 255)  # of each channel in the cube of 256 colours


def depth() -> int:
    """Bits of colour that standard output shows: 24, 8, 4, or 0 for none.

    None where it is no terminal, or where NO_COLOR is set; `COLORTERM=truecolor` says 24.
    """
    try:
        shows = sys.stdout.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return 0
    if not shows or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return 0
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return 24
    return 8 if "256color" in os.environ.get("TERM", "") else 4


def coloured(lines: Iterable[Line], bits: int) -> str:
    """The lines with escape codes for so many bits of colour.

    >>> coloured([(Span("a", "ok"), Span("b"))], 8), coloured([(Span("a", "ok"),)], 0)
    ('\\x1b[32ma\\x1b[0mb', 'a')
    """
    return "\n".join("".join(_span(span, bits) for span in spans).rstrip() for spans in lines)


def _span(span: Span, bits: int) -> str:
    if not bits or not span.mark:
        return span.text
    if span.mark[0] == "#":
        upper, _, lower = span.mark.partition("/")
        code = f"{_colour(upper, bits, 38)};{_colour(lower, bits, 48)}"
    else:
        code = CODES[span.mark]
    return f"\x1b[{code}m{span.text}\x1b[0m"


def _colour(mark: str, bits: int, which: int) -> str:
    """Foreground (38) or background (48) in this colour, or the nearest of 256."""
    rgb = [int(mark[i : i + 2], 16) for i in (1, 3, 5)]
    if bits == 24:
        return f"{which};2;{rgb[0]};{rgb[1]};{rgb[2]}"
    if max(rgb) - min(rgb) < 10:  # one of 24 greys
        return f"{which};5;{232 + min(23, max(0, (rgb[0] - 3) // 10))}"
    red, green, blue = (min(range(6), key=lambda i: abs(STEPS[i] - part)) for part in rgb)
    return f"{which};5;{16 + 36 * red + 6 * green + blue}"
