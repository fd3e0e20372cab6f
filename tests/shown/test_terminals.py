"""The commands at a terminal: narrow, without colour, ended by a key, one screen high."""

import inspect
import io
import os
import pty
import re
import subprocess
import sys
import termios
import time

import pytest
import torch
from torch import nn

import trilby
from trilby.cli import main
from trilby.shown.lines import folded, line

COMMANDS = [
    "", "list", "show mean", "show decay", "show ema", "show mean -T 9",
    "same mean.loop mean.softmax", "gallery", "env",
    "tour --help", "list --help", "show --help", "same --help", "check --help", "gallery --help",
    "bench --help", "audit --help", "mix --help", "env --help", "completion --help",
]  # fmt: skip
MARKUP = re.compile(r":\w+:`|``|::$|(?<![\w*])\*\w+\*(?![\w*])", re.MULTILINE)


def said(capsys, monkeypatch, command: str, width: int) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(command.split()) == 0
    return capsys.readouterr().out


def words(text: str) -> set[str]:
    """The words in which a line could be broken: times are others at each run."""
    return {word for word in text.split() if word.isalpha() or "-" in word.strip("-")}


@pytest.mark.parametrize("command", COMMANDS)
def test_narrow_terminals_break_no_word_and_show_no_markup(capsys, monkeypatch, command):
    wide = words(said(capsys, monkeypatch, command, 200))
    for width in (60, 80):
        out = said(capsys, monkeypatch, command, width)
        assert [row for row in out.splitlines() if len(row) > width and " " in row.strip()] == []
        assert MARKUP.findall(out) == []
        assert out.replace("\n", "").isprintable()
        assert words(out) - wide == set()


def test_a_triangle_wider_than_the_terminal_says_what_a_cell_is(capsys, monkeypatch):
    out = said(capsys, monkeypatch, "show mean -T 64", 60)
    assert max(map(len, out.splitlines())) <= 60
    assert "Each cell stands for 2 positions" in out.replace("\n", " ")
    rows = [row for row in out.splitlines() if re.match(r" +\d+ [█▓▒░]", row)]
    assert [int(row.split()[0]) for row in rows] == list(range(0, 64, 2))
    assert {len(row.rstrip("·")) for row in rows[:2]} == {7, 8}
    assert "Each cell" not in said(capsys, monkeypatch, "show mean -T 64", 80)


@pytest.mark.parametrize("form", ["loop", "fused"])
def test_show_prints_the_code_of_a_form(capsys, monkeypatch, form):
    out = said(capsys, monkeypatch, f"show mean.{form}", 60)
    code = inspect.getsource(inspect.unwrap(trilby.mean.forms[form])).rstrip()
    place, blank, shown = out.rstrip().split("\n", 2)
    assert re.fullmatch(rf"mean\.{form}, in trilby/mixers/mean\.py:\d+", place)
    assert (blank, shown) == ("", code)


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"\x03", 130)], ids=["q", "Ctrl-C"])
def test_a_key_ends_the_tour(key, code):
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "trilby", "tour", "--step"]
    pipes = {"stdin": child, "stdout": child, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        asked = ""
        while "q ends the tour" not in asked:
            asked += process.stderr.readline(1)
        while termios.tcgetattr(child)[3] & termios.ICANON:
            time.sleep(0.01)  # until it waits for a key, not for a line
        os.write(parent, key)
        _, err = process.communicate(timeout=60)
    out = os.read(parent, 1 << 16).decode()
    os.close(parent)
    os.close(child)
    assert process.returncode == code
    assert "1. The loop" in out
    assert "2. The matrix" not in out
    assert err.split() == (["trilby:", "interrupted"] if code else [])


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("wish", ["", "1"])
def test_no_color_leaves_the_words(monkeypatch, wish):
    monkeypatch.setenv("NO_COLOR", wish)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    assert main(["same", "mean.loop", "mean.scan"]) == 0
    hues = re.findall(r"\x1b\[[0-9;]*(?:3|4|9)[0-9][0-9;]*m", screen.getvalue())
    assert bool(hues) == (wish == "")
    assert "the same function" in screen.getvalue()


def test_the_report_of_a_healthy_module_fits_a_screen():
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
    report = trilby.check(model, torch.randn(2, 16, 4), effort="quick")
    assert report
    rows = [row for text in str(report).splitlines() for row in folded(line(text), 80)]
    assert len(rows) < 24
