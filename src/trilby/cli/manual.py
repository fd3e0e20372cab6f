"""A docstring for a terminal: paragraphs as wide as it is, without the marks of its markup."""

import re

from ..shown.lines import Line, folded, line

GAP = re.compile(r" {2,}(?=\S)")
_MARKS = (
    (re.compile(r":\w+:`~?([^`<]+?)(?: <[^>]*>)?`"), r"\1"),
    (re.compile(r"``([^`]+)``"), r"\1"),
    (re.compile(r"(?<![\w*])\*(\w+)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?m)::$"), ":"),
)


def pages(text: str, width: int | None) -> list[Line]:
    """The lines of a docstring, none wider than `width`; None keeps them as they are.

    >>> from trilby.shown.lines import plain
    >>> for row in pages("A :func:`mean` of all that\\nis known, see::\\n\\n    x  [B]", 20):
    ...     print(plain(row))
    A mean of all that
    is known, see:
    <BLANKLINE>
        x  [B]
    """
    for pattern, instead in _MARKS:
        text = pattern.sub(instead, text)
    found: list[Line] = []
    for block in re.split(r"\n[ \t]*\n", text.strip("\n")):
        rows = block.splitlines()
        if width is None or any(row.startswith(" ") for row in rows):
            for row in rows:
                found += [line(row)] if width is None else folded(line(row), width, _hang(row))
        else:
            found += folded(line(" ".join(rows)), width, "")
        found.append(())
    return found[:-1]


def _hang(row: str) -> str:
    """What a row of columns continues under: its last column, if that is not too far right."""
    indent = len(row) - len(row.lstrip())
    gaps = [gap.end() for gap in GAP.finditer(row) if gap.start() > indent]
    under = [at for at in gaps if at <= 24]
    return " " * (under[-1] if under else indent + 4)
