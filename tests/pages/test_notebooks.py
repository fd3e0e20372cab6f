"""Every notebook runs as a program, and its assertions hold."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
PAGE = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path):
    runpy.run_path(str(path))


def test_each_begins_with_a_title_and_ends_with_something_to_try():
    for path in NOTEBOOKS:
        first, *_, last = path.read_text(encoding="utf-8").split("\n# %% [markdown]\n")[1:]
        assert first.startswith("# # ")
        assert last.startswith("# ## Try\n")
        assert last.count("\n# - ") >= 2
        assert "\n# %%" not in last


def test_they_are_on_the_page():
    assert sorted(re.findall(r"^\| `(\w+\.py)` \|", PAGE, re.M)) == [p.name for p in NOTEBOOKS]
