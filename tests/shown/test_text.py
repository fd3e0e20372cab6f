"""Lines for people: folded without broken words, brief, and the triangle in marks."""

import re

import pytest
import torch

from trilby.cli import main
from trilby.pooling import coarse
from trilby.shown.ansi import coloured
from trilby.shown.halves import halves
from trilby.shown.lines import Span, brief, columns, folded, line, plain
from trilby.shown.triangle import draw, picture

LONG = line(Span("causal", "leak"), ": leak  f  y[0, 0] reads x[0, 1] in a/path/of/many-parts.py")


@pytest.mark.parametrize("width", [20, 30, 60])
def test_folding_breaks_no_word_and_loses_no_mark(width):
    rows = folded(LONG, width)
    assert " ".join(plain(row).strip() for row in rows).split() == plain(LONG).split()
    assert rows[0][0] == Span("causal", "leak")
    words = max(map(len, plain(LONG).split())) + 4
    assert max(len(plain(row)) for row in rows) <= max(width, words)


def test_what_fits_stays_as_it_is():
    assert folded(LONG, 80) == [LONG]


def test_a_table_that_is_too_wide_continues_below():
    rows = [[Span(""), Span("matrix"), Span("scan"), Span("fused")],
            [Span("causal"), Span("ok"), Span("ok"), Span("BROKEN")]]  # fmt: skip
    whole = [plain(row) for row in columns(rows)]
    halves = [plain(row) for row in columns(rows, 36)]
    assert len(whole) == 2
    assert [row.split() for row in halves] == [
        ["matrix", "scan"], ["causal", "ok", "ok"], ["fused"], ["causal", "BROKEN"]
    ]  # fmt: skip
    assert max(map(len, halves)) <= 36


def test_brief_keeps_the_beginning():
    assert brief("short") == "short"
    assert len(brief("word " * 200)) <= 240
    assert brief("two\nlines") == "two lines"


def test_a_weight_in_the_future_is_marked_in_text_and_html():
    leaky = [[0.5, 0.5], [0.5, 0.5]]
    assert Span("  0.500", "leak") in draw(leaky)[1]
    assert "! 0.500" in picture(leaky)
    large = [[1.0] * 12 for _ in range(12)]
    assert "!!" in plain(draw(large)[0])
    assert "!!" in picture(large)
    assert "!" not in picture([[float(s <= t) for s in range(12)] for t in range(12)])


def test_not_a_number_is_drawn():
    assert "██" in plain(draw([[float("nan")] * 9 for _ in range(9)])[8])


def test_a_leak_beside_the_diagonal_is_not_lost_in_a_cell_of_several():
    wei = torch.eye(12)
    wei[4, 5] = 1e-6  # in one cell with two weights of 1
    rows, first, leaks = coarse(wei, 6)
    assert leaks == {2}
    assert "!!" in plain(draw(rows, first, leaks)[2])
    assert "!" in picture(rows, first, leaks)
    assert draw(rows, first, leaks, ascii=True)[0][1].text == "##"
    (colour,) = {span.mark[1:7] for span in halves(rows, first, leaks)[2] if span.text == "▀"
                 and span.mark.startswith("#")} - {"16181d", "22252c"}  # fmt: skip
    red, green, blue = (int(colour[i : i + 2], 16) for i in (0, 2, 4))
    assert green < min(red, blue)  # magenta


def test_halves_have_two_rows_in_a_line_and_ticks():
    wei = [[float(s <= t) for s in range(24)] for t in range(24)]
    lines = [plain(row) for row in halves(wei, range(0, 48, 2))]
    assert len(lines) == 13
    assert lines[0].split() == ["0", "20", "40"]
    assert lines[0].index("20") == 6 + 10
    assert lines[1].startswith("    0 ▀")
    shown = coloured(halves(wei, range(24)), 24)
    assert "38;2;122;184;255" in shown  # the largest weight
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", row)) for row in shown.splitlines()) == 30


def test_show_draws_half_blocks_where_there_are_colours(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["show", "mean", "-T", "20", "--color", "always"]) == 0
    assert "▀" in capsys.readouterr().out
    assert main(["show", "mean", "-T", "20", "--color", "never"]) == 0
    assert "█" in capsys.readouterr().out
