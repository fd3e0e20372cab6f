"""What is uploaded: the source distribution, its description, and where it asks for numba."""

import tarfile
import tomllib

import pytest
from hatch_build import RELATIVE, described
from hatchling.builders.sdist import SdistBuilder
from packaging.requirements import Requirement

from tests.house.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The files of the source distribution: name -> text, for the few that are read."""
    folder = tmp_path_factory.mktemp("sdist")
    (built,) = SdistBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2]: name for name in archive.getnames()}
        about = archive.extractfile(names["PKG-INFO"]).read().decode()
    return names.keys(), about


def test_it_has_all_that_make_test_needs(packed):
    names, _ = packed
    wanted = {"Makefile", "conftest.py", "hatch_build.py", "CONTRIBUTING.md", "LICENSE", ".ci/run"}
    for folder in ("src", "tests", "docs", "notebooks", "benchmarks", "page", "requirements"):
        found = (p for p in (ROOT / folder).rglob("*") if p.is_file())
        wanted |= {str(p.relative_to(ROOT)) for p in found if not _made(p.relative_to(ROOT).parts)}
    assert sorted(wanted - names) == []


def _made(parts):
    """Whether a file was made by a command, and is no source."""
    made = {"_build", "node_modules"} & {*parts}
    return bool(made) or any(p.startswith("__pycache__") or p[:1] == "." for p in parts)


def test_its_description_has_no_link_that_leads_nowhere(packed):
    _, about = packed
    assert "Trilby is a PyTorch library" in about
    assert RELATIVE.findall(about) == []
    assert "<picture>" not in about
    assert RELATIVE.findall(README)


def test_a_link_becomes_absolute_or_the_name_of_a_file():
    text = "[laws](docs/laws/index.md#x), [mean.py](src/mean.py), [torch](https://pytorch.org)"
    assert described(text, None) == (
        "laws (`docs/laws/index.md`), `src/mean.py`, [torch](https://pytorch.org)"
    )
    assert described("[laws](docs/laws/index.md#x)", "https://example.org/files/") == (
        "[laws](https://example.org/files/docs/laws/index.md#x)"
    )
    picture = '<picture><source srcset="a.svg"><img src="b.svg"></picture>\n\n'
    assert described(picture + "text", None) == "text"
    assert described(picture, "https://example.org").count('"https://example.org/') == 2


@pytest.mark.parametrize(
    ("python", "implementation", "asked"),
    [("3.11", "CPython", True), ("3.15", "CPython", True), ("3.16", "CPython", False),
     ("3.11", "PyPy", False)],
)  # fmt: skip
def test_it_installs_where_numba_does_not(python, implementation, asked):
    (numba,) = [line for line in map(Requirement, PROJECT["dependencies"]) if line.name == "numba"]
    there = {"python_version": python, "platform_python_implementation": implementation}
    assert numba.marker.evaluate(there) is asked
