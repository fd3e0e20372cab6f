"""The text on the page "What you see" is what a terminal and pytest print."""

import os
import re
import textwrap
from pathlib import Path

import pytest
import torch

import trilby
from trilby.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "shown.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
HELP, FAILURE, _, GRADIENT = (text for kind, text in BLOCKS if kind == "text")
TEST, SAME = (text for kind, text in BLOCKS if kind == "python")


def test_the_first_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([]) == 0
    assert capsys.readouterr().out == HELP


def test_a_failing_assertion(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_of_the_page.py").write_text(TEST)
    options = ["-q", "-c", os.devnull, "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", "."]
    assert pytest.main([*options, "test_of_the_page.py"]) == pytest.ExitCode.TESTS_FAILED
    assert FAILURE in capsys.readouterr().out


def test_the_lines_about_same():
    names = {"torch": torch, "trilby": trilby}
    exec(SAME, names)
    assert names["verdict"]
    x = torch.arange(8.0).view(1, 4, 2)
    assert str(trilby.same(lambda x: 2 * x, lambda x: x + x.detach(), x)) == (
        " ".join(textwrap.dedent(GRADIENT).split())
    )


def test_the_pictures_are_there_and_small():
    named = re.findall(r"\]\((pictures/\w+\.png)\)", PAGE.read_text())
    assert len(named) == 5
    assert all((PAGE.parent / name).stat().st_size < 100_000 for name in named)
