"""What a person at a terminal sees while a call runs: one line, and nothing of it at the end."""

import io
import time
from types import SimpleNamespace

import pytest
import torch

import trilby
from trilby.shown import progress as shown


class Terminal(io.StringIO):
    """A stream that is a terminal, and draws what was written to it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def left(self) -> str:
        """What the line holds at the end."""
        cells: list[str] = []
        at = 0
        for letter in self.getvalue():
            if letter == "\r":
                at = 0
            else:
                cells[at : at + 1] = letter
                at += 1
        return "".join(cells).rstrip()


def put(monkeypatch, stream):
    """Make it the standard error, which pytest replaces between a fixture and its test."""
    monkeypatch.setattr(shown, "sys", SimpleNamespace(stderr=stream))


@pytest.fixture
def terminal(monkeypatch):
    stream = Terminal()
    put(monkeypatch, stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(shown, "WAIT", 0.0)
    monkeypatch.setattr(shown, "EVERY", 0.01)
    return stream


def slow(x):
    time.sleep(0.01)
    return x.cumsum(1)


def test_check_says_which_law_which_form_and_how_many_are_left(terminal):
    trilby.check(trilby.mean, forms=["scan", "step"], laws=["repeats", "causal"], effort="quick")
    said = terminal.getvalue()
    assert "check: repeats on mean.scan, 4 left  " in said
    assert "check: causal on mean.step, the last  " in said
    assert terminal.left() == ""


def test_same_says_what_it_compares(terminal):
    trilby.same(slow, lambda x: x.cumsum(1), torch.ones(1, 2, 1))
    assert "same: slow = <lambda>  " in terminal.getvalue()
    assert terminal.left() == ""


def test_it_is_no_wider_than_the_terminal(terminal):
    with shown.progress() as line:
        line.say("check: causal on " + "a_very_long_name" * 9)
        time.sleep(0.1)
    rows = terminal.getvalue().split("\r")
    assert max(map(len, rows)) == 59
    assert any(row.endswith("...") for row in rows)
    assert terminal.left() == ""


def interrupted():
    with shown.progress() as line:
        line.say("check: causal on mean.scan, 4 left")
        time.sleep(0.1)
        raise KeyboardInterrupt


def test_an_interrupt_leaves_a_clean_line(terminal):
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "4 left" in terminal.getvalue()
    assert terminal.left() == ""


def test_inside_another_call_there_is_no_second_line(terminal):
    with shown.progress() as line:
        line.say("bench")
        trilby.same(slow, slow, torch.ones(1, 2, 1))
        time.sleep(0.05)
    assert "bench" in terminal.getvalue()
    assert "same:" not in terminal.getvalue()


@pytest.mark.parametrize("how", ["file", "dumb", "closed", "none"])
def test_without_a_terminal_there_is_nothing(terminal, monkeypatch, how):
    stream = io.StringIO() if how == "file" else terminal
    if how == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    if how == "closed":
        stream = io.StringIO()
        stream.close()
    put(monkeypatch, None if how == "none" else stream)
    trilby.same(slow, slow, torch.ones(1, 2, 1))
    if how in ("file", "dumb"):
        assert stream.getvalue() == ""
