"""The page that is committed is what its sources build, and is small."""

import shutil
import subprocess
from importlib.resources import files

import pytest

from tests.browser import missing
from tests.explorer.conftest import PAGE

BUILT = files("trilby.explorer")


@pytest.fixture(scope="module")
def node():
    """The programs that build the page."""
    programs = PAGE / "node_modules" / ".bin"
    if shutil.which("node") is None or not (programs / "esbuild").exists():
        missing("node or esbuild is not installed; make browser")
    return programs


SOURCES = {
    "page.js": ["src/main.js", "--bundle", "--format=iife", "--target=es2022"],
    "page.css": ["src/page.css"],
    "widget.js": ["src/widget.js", "--format=esm", "--target=es2022"],
}


@pytest.mark.parametrize("name", SOURCES)
def test_it_is_what_its_sources_build(node, name, tmp_path):
    how = ["--minify", "--charset=utf8", "--legal-comments=none", f"--outfile={tmp_path / name}"]
    command = [node / "esbuild", *SOURCES[name], *how]
    subprocess.run(command, cwd=PAGE, check=True, timeout=60)
    built = (tmp_path / name).read_text(encoding="utf-8")
    assert built == BUILT.joinpath(name).read_text(encoding="utf-8"), "run `make page`"


def test_its_types_are_right(node):
    found = subprocess.run(
        [node / "tsc", "--project", "tsconfig.json"], cwd=PAGE, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert found.stdout == ""


def test_it_is_small_and_holds_no_address():
    texts = [BUILT.joinpath(name).read_text(encoding="utf-8") for name in SOURCES]
    assert sum(len(text.encode()) for text in texts) <= 60_000
    assert "http" not in "".join(texts)
