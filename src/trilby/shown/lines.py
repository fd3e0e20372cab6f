"""Lines of text whose parts carry a mark; a terminal and a notebook give each mark its colour."""

import textwrap
from collections.abc import Iterable
from typing import NamedTuple

BRIEF = 238
"""Characters of a `repr`; pytest cuts the middle out of a longer one."""


class Span(NamedTuple):
    """A part of a line.

    Attributes:
        text: what it says, also without any colour.
        mark: "ok", "broken", "leak", "skip", "dim", "weight", "negative", or "" for plain text.
    """

    text: str
    mark: str = ""


Line = tuple[Span, ...]


def line(*parts: str | Span) -> Line:
    """A line of spans; a string is plain text."""
    return tuple(Span(part) if isinstance(part, str) else part for part in parts)


def plain(spans: Line) -> str:
    """The text without its marks.

    >>> plain(line("causal  ", Span("ok", "ok"), "   "))
    'causal  ok'
    """
    return "".join(span.text for span in spans).rstrip()


def folded(spans: Line, width: int, more: str = "    ") -> list[Line]:
    """The line in rows that are no wider than `width`; no word is broken.

    Args:
        more: what every row but the first begins with.

    >>> [plain(row) for row in folded(line("note  ", Span("too long", "dim"), " a line"), 12, "  ")]
    ['note  too', '  long a', '  line']
    """
    text = "".join(span.text for span in spans)
    if len(text.rstrip()) <= width:
        return [spans]
    start = text[: len(text) - len(text.lstrip())]
    chunks = textwrap.wrap(
        text, max(width, len(start) + 8), initial_indent="", subsequent_indent="\0" * len(more),
        break_long_words=False, break_on_hyphens=False, replace_whitespace=False,
        expand_tabs=False,
    )  # fmt: skip
    rows: list[Line] = []
    end = 0
    for chunk in (chunk.lstrip("\0") for chunk in chunks):
        begin = text.index(chunk, end)
        end = begin + len(chunk)
        rows.append((*(line(more) if rows else ()), *_part(spans, begin, end)))
    return rows


def brief(text: str, most: int = BRIEF) -> str:
    """The text on one line of at most `most` characters, cut after a word.

    >>> brief("one two  three", 10)
    'one two...'
    """
    text = text.replace("\n", " ")
    return text if len(text) <= most else text[: most - 2].rpartition(" ")[0].rstrip(" ;,") + "..."


def columns(rows: list[list[Span]], width: int | None = None) -> Iterable[Line]:
    """A table: the first cell of a row names it. Columns that do not fit stand below the others."""
    if not rows:
        return
    label = max(14, *(len(row[0].text) for row in rows))
    widths = [max(6, *(len(row[i].text) for row in rows)) for i in range(1, len(rows[0]))]
    at = 0
    while at < len(widths):
        most = at + 1
        total = 2 + label + 2 + widths[at]
        while most < len(widths) and (width is None or total + 2 + widths[most] <= width):
            total += 2 + widths[most]
            most += 1
        for row in rows:
            cells = [_padded(row[0], label)]
            for i in range(at, most):
                cells += [Span("  "), _padded(row[i + 1], widths[i])]
            yield (Span("  "), *cells)
        at = most


def _padded(span: Span, width: int) -> Span:
    return Span(f"{span.text:{width}}", span.mark)


def _part(spans: Line, begin: int, end: int) -> Line:
    """The spans between two places of the text."""
    found, at = [], 0
    for text, mark in spans:
        piece = text[max(begin - at, 0) : max(end - at, 0)]
        at += len(text)
        if piece:
            found.append(Span(piece, mark))
    return tuple(found)
