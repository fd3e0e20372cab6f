"""The how-to pages, followed word for word in an empty folder."""

import contextlib
import io
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.acceleration.models import RELEASE
from tests.pages.following import blocks, followed
from trilby.cli import main
from trilby.transformers.seam import FIRST

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
PAGES = sorted(path.stem for path in HOWTO.glob("*.md"))
APART = ("ci", "longer")  # a test file, below, and what needs several processes, in tests/comm
NEWER = pytest.mark.skipif(RELEASE < (5, 24), reason="the pages are about newer releases")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), NEWER]
assert FIRST < (5, 24)


def runs_here(code):
    """The trainer of transformers needs a package that the tests do not."""
    return "Trainer(" not in code or find_spec("accelerate") is not None


def quietly(line):
    """Run a command of ours; others install something."""
    if line.startswith("trilby "):
        with contextlib.redirect_stdout(io.StringIO()):
            assert main([*shlex.split(line)[1:], "--rounds", "1"]) == 0


@pytest.mark.parametrize("page", [page for page in PAGES if page not in APART])
def test_a_page_is_right_word_for_word(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    followed(HOWTO / f"{page}.md", runs_here, quietly)


def test_the_test_file_of_the_page_passes(tmp_path, monkeypatch, request):
    (code,) = [code for language, code in blocks(HOWTO / "ci.md") if language == "python"]
    assert code.startswith("# test_model.py\n")
    names = {}
    exec(compile(code, "ci.md", "exec"), names)
    for name in [name for name in names if name.startswith("test_")]:
        made = names["model"].__wrapped__ if hasattr(names["model"], "__wrapped__") else None
        assert made is not None
        steps = made()
        names[name](next(steps))
        assert next(steps, None) is None


def test_every_page_is_in_the_index():
    index = (HOWTO.parent / "index.md").read_text(encoding="utf-8")
    assert [page for page in PAGES if f"\nhowto/{page}\n" not in index] == []
