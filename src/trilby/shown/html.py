"""HTML for notebooks. Every other module hands text to this one, which escapes it.

Untrusted and exported notebooks drop scripts, style sheets and SVG, so only tables, text and inline
styles are used. Hues are see-through backgrounds behind the notebook's own text colour, which reads
on light and on dark, and each stands beside a glyph or a word.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from .lines import Line, Span

HUES = {
    "ok": "rgba(46, 160, 67, 0.25)",
    "broken": "rgba(218, 54, 51, 0.35)",
    "leak": "rgba(191, 64, 191, 0.35)",
    "weight": "rgba(56, 139, 253, 0.35)",
    "negative": "rgba(210, 120, 20, 0.40)",
}
GLYPHS = {"ok": "✓ ", "broken": "✗ ", "leak": "✗ ", "skip": "– "}
_CELL = "text-align: left; padding: 1px 8px"
_MONO = "font-family: monospace"


def box(*parts: str) -> str:
    """What a `_repr_html_` returns, from parts that this module wrote."""
    return f"<div>{''.join(part for part in parts if part)}</div>"


def sentence(text: str, mark: str = "") -> str:
    """A paragraph, behind a glyph if it has a mark."""
    return f"<p>{_span(Span(GLYPHS.get(mark, '') + text, mark))}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str | Span]]) -> str:
    """A table; a marked cell gets a hue and a glyph.

    >>> print(table(["law"], [[Span("<b>", "ok")]]).rpartition(" rgba")[2])
    (46, 160, 67, 0.25)">✓ &lt;b&gt;</td></tr></table>
    """
    cells = "".join(f"<th{_style(_CELL)}>{escape(text)}</th>" for text in head)
    lines = [f"<tr>{cells}</tr>"] if any(head) else []
    for row in rows:
        lines.append(f"<tr>{''.join(map(_cell, row))}</tr>")
    return f"<table>{''.join(lines)}</table>"


def text(lines: Iterable[Line], picture: bool = False) -> str:
    """Lines in a fixed pitch, with the hue of each mark; in a `picture` they touch."""
    rows = ["".join(map(_span, spans)) for spans in lines]
    close = "line-height: 1; " if picture else ""
    return f"<pre{_style(close + _MONO)}>{chr(10).join(rows)}</pre>" if rows else ""


def folded(summary: str, *parts: str) -> str:
    """Parts that a reader opens; a page that cannot fold shows them."""
    inside = "".join(parts)
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>" if inside else ""


def numbers(rows: Sequence[Sequence[float]], mark: Callable[[int, int, float], str]) -> str:
    """A small matrix with its numbers; the stronger a number, the stronger its hue.

    Args:
        mark: (row, column, value) -> the mark of that cell.
    """
    top = max((abs(v) for row in rows for v in row), default=0.0) or 1.0
    head = "".join(f"<th{_style(_CELL)}>{s}</th>" for s in range(len(rows)))
    lines = [f"<tr><th{_style(_CELL)}>reads</th>{head}</tr>"]
    for t, row in enumerate(rows):
        cells = [_number(v, mark(t, s, v), abs(v) / top) for s, v in enumerate(row)]
        lines.append(f"<tr><th{_style(_CELL)}>{t}</th>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def facts(known: Mapping[str, str]) -> str:
    """Two columns: what, and which."""
    return table(["", ""], [[Span(name, "dim"), value] for name, value in known.items()])


def _cell(cell: str | Span) -> str:
    said, mark = (cell, "") if isinstance(cell, str) else cell
    look = "; ".join(filter(None, [_CELL, _hue(mark)]))
    return f"<td{_style(look)}>{GLYPHS.get(mark, '')}{escape(said)}</td>"


def _number(value: float, mark: str, share: float) -> str:
    if mark == "dim":
        return f"<td{_style(_CELL)}>·</td>"
    hue = HUES.get(mark, HUES["weight"]).rpartition(",")[0]
    strength = 0.1 + 0.5 * min(1.0, share if share == share else 1.0)
    look = f"{_CELL}; background-color: {hue}, {strength:.2f})"
    return f"<td{_style(look)}>{'! ' if mark == 'leak' else ''}{value:.3f}</td>"


def _span(span: Span) -> str:
    hue, said = _hue(span.mark), escape(span.text)
    return f"<span{_style(hue)}>{said}</span>" if hue else said


def _hue(mark: str) -> str:
    return f"background-color: {HUES[mark]}" if mark in HUES else ""


def _style(look: str) -> str:
    return f' style="{look}"' if look else ""
