"""`docs/architecture.md` is true: the drawings are the floors, and the files it names exist."""

import re
from pathlib import Path

import pytest

from tests.house.floors import FLOORS, VERIFIER
from tests.house.tree import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PACKAGE = ROOT / "src" / "trilby"


def drawn(page: str) -> list[list[set[str]]]:
    """The drawings of a page: the names at the beginning of each line, bottom first."""
    blocks = re.findall(r"```text\n(.*?)```", page, re.S)
    return [[set(re.split(r"\s{2,}", x)[0].split()) for x in b.splitlines()][::-1] for b in blocks]


def standing(floors: tuple[set[str], ...], folder: Path) -> list[set[str]]:
    """The floors without the names that are only reserved, and without floors that are empty."""
    there = [{n for n in floor if (folder / n).is_dir() or (folder / f"{n}.py").is_file()}
             for floor in floors]  # fmt: skip
    return [floor for floor in there if floor]


def absent(page: str) -> list[str]:
    """The files and folders that a page names, relative to the package, and that do not exist."""
    named = re.findall(r"`((?:\w+/)*\w+\.py|(?:\w+/)+)`", page)
    return [name for name in named if not any((base / name).exists() for base in (PACKAGE, ROOT))]


def test_the_drawings_are_the_floors():
    package, verifier, *_ = drawn(PAGE)
    assert package == standing(FLOORS, PACKAGE)
    assert verifier == standing(VERIFIER[:-1], PACKAGE / "verify")


def test_the_files_that_the_page_names_exist():
    named = PAGE.replace("`trilby/__init__.py`", "`__init__.py`")
    assert absent(named) == []


@pytest.mark.parametrize("wrong", ["a `verify/court.py`", "all of `kernels/attic/`"])
def test_a_file_that_does_not_exist_is_found(wrong):
    assert len(absent(f"`card.py`, `tests/house/` and {wrong}")) == 1


def test_a_drawing_is_read_line_by_line():
    assert drawn("```text\nb c   two things\na     one thing\n```") == [[{"a"}, {"b", "c"}]]
