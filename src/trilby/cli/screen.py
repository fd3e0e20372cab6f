"""The terminal: its width, its colours, its character set."""

import json
import os
import sys
from typing import Any, Literal

import click
from rich.console import Console, RenderableType
from rich.text import Text

from ..shown.lines import Line, Span, folded
from .words import COLOR

STYLES = {
    "ok": "green",
    "broken": "bold red",
    "leak": "bold magenta",
    "negative": "red",
    "weight": "cyan",
    "dim": "dim",
    "skip": "dim",
}
"""Colours by mark; each mark stands on a word or a sign that says the same without it."""

_LETTERS = str.maketrans(
    {
        "×": "x", "→": "->", "←": "<-", "·": ".", "≤": "<=", "≥": ">=", "±": "+-", "…": "...",
        "│": "|", "─": "-", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "✓": "ok", "✗": "NO",
        "⏎": "$", "␣": "_", "∞": "inf", "µ": "u",
    }
)  # fmt: skip


class Screen:
    """Prints results on stdout, with colour and UTF-8 only where the terminal supports them.

    Attributes:
        ascii: whether only ASCII is written.
        color: whether colours are used.
        width: columns of the terminal; 80 where there is none.
        fit: columns that a sentence has to fit in; None where there is no terminal.
    """

    def __init__(self) -> None:
        context = click.get_current_context(silent=True)
        wish = context.meta.get(COLOR, "auto") if context else "auto"
        force = dict(auto=None, always=True, never=False)[wish]
        system: Literal["auto", "256"] = "256" if wish == "always" else "auto"
        bare = True if wish == "never" else False if wish == "always" else None
        self.console = Console(
            file=sys.stdout,
            force_terminal=force,
            color_system=system,
            no_color=bare,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self.ascii = not _utf8()
        self.width = self.console.width
        self.fit = self.width if sys.stdout.isatty() or "COLUMNS" in os.environ else None
        self.color = self.console.color_system is not None and not self.console.no_color

    def print(self, *things: RenderableType, width: int | None = None) -> None:
        """Print, wrapped at the width of the terminal."""
        with self.console.capture() as capture:
            for thing in things:
                self.console.print(thing, width=width)
        self._write(capture.get())

    def line(self, text: str = "") -> None:
        """Print a line; where it is too long for the terminal, the rest is indented below it."""
        self.said((Span(text),), " " * (len(text) - len(text.lstrip()) + 4))

    def raw(self, text: str | Text) -> None:
        """Print a line as it is, such as one of code."""
        with self.console.capture() as capture:
            self.console.print(text, soft_wrap=True)
        self._write(capture.get())

    def said(self, spans: Line, more: str = "    ") -> None:
        """Print a line of marked parts, folded at the width of a terminal; `more` indents the rest.

        Where there is no terminal it is one line, so that a log can be searched.
        """
        for row in [spans] if self.fit is None else folded(spans, self.fit, more):
            self.picture(row)

    def picture(self, spans: Line) -> None:
        """Print a line of marked parts as it is."""
        self.raw(Text.assemble(*((text, _style(mark)) for text, mark in spans)))

    def wrapped(self, text: str, indent: str = "", more: str = "") -> None:
        """Print a paragraph as wide as the terminal; `more` indents every line but the first."""
        for row in folded((Span(indent + text),), self.width, indent + more):
            self.picture(row)

    def _write(self, text: str) -> None:
        text = "\n".join(line.rstrip(" ") for line in text.split("\n"))
        sys.stdout.write(letters(text) if self.ascii else text)
        sys.stdout.flush()


def _style(mark: str) -> str:
    """The style of a mark; "#rrggbb/#rrggbb" are the colours of letters and background."""
    return mark.replace("/", " on ") if mark[:1] == "#" else STYLES.get(mark, "")


def letters(text: str) -> str:
    """The same text in ASCII.

    >>> letters("2 × 3 ≤ 7")
    '2 x 3 <= 7'
    """
    return text.translate(_LETTERS).encode("ascii", "replace").decode("ascii")


def print_json(schema: str, found: dict[str, Any]) -> None:
    """Print one JSON object that names its schema; a number that is not finite becomes null."""
    click.echo(json.dumps({"schema": schema, **_finite(found)}, allow_nan=False))


def talk(text: str) -> None:
    """Print a message that is not a result."""
    click.echo(text if _utf8() else letters(text), err=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value


def _utf8() -> bool:
    """Whether the output is UTF-8: what Python was told, else what the locale says.

    In the locale C Python writes UTF-8 all the same; a terminal in it may not show any.
    """
    if (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "") != "utf8":
        return False
    if os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8"):
        return True
    if os.environ.get("LC_ALL"):
        return os.environ["LC_ALL"] not in ("C", "POSIX")
    return os.environ.get("LANG") not in ("C", "POSIX")
