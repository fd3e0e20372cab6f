"""Every package that `make` installs is pinned to one version, transitive ones too."""

import re
import tomllib
from importlib.metadata import distribution

from packaging.requirements import Requirement

from tests.house.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PIN = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*")
BY_MACHINE = ("nvidia-", "cuda-", "triton")  # torch brings these, exactly pinned by itself


def pins(name: str) -> list[str]:
    lines = (ROOT / "requirements" / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> set[str]:
    return {plain(line.partition("==")[0]) for line in pins("dev.txt")}


def unpinned(wanted: list[str], pinned: set[str]) -> set[str]:
    """Installed packages that `wanted` depends on and that have no pin."""
    seen: set[str] = set()
    todo = [plain(Requirement(line).name) for line in wanted]
    while todo:
        name = todo.pop()
        if name in seen or name.startswith(BY_MACHINE):
            continue
        seen.add(name)
        for line in distribution(name).requires or []:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                todo.append(plain(need.name))
    return seen - pinned


def wanted() -> list[str]:
    extras = PROJECT["project"]["optional-dependencies"]
    groups = (extras[name] for name in ("test", "docs", "lint"))
    first = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"]]
    return first + [requirement for group in groups for requirement in group]


def test_every_line_is_an_exact_version():
    for file in ("dev.txt", "bench.txt", "notebook.txt", "peers.txt", "oldest.txt"):
        for line in pins(file):
            assert PIN.fullmatch(line), line


def test_nothing_is_left_unpinned():
    assert unpinned(wanted(), pinned()) == set()


def test_a_missing_pin_is_found():
    assert unpinned(wanted(), pinned() - {"sympy", "click"}) == {"sympy", "click"}


def test_the_oldest_versions_that_are_tested_are_the_lowest_that_are_allowed():
    for line in PROJECT["project"]["dependencies"]:
        name, _, lowest = line.partition(";")[0].partition(">=")
        found = [pin for pin in pins("oldest.txt") if pin.startswith(f"{name}==")]
        assert [re.sub(r"(\.0)*$", "", pin) for pin in found] == [
            re.sub(r"(\.0)*$", "", f"{name}=={lowest}")
        ]


def test_the_newest_versions_have_no_bound_and_leave_nothing_out():
    extras = PROJECT["project"]["optional-dependencies"]
    needed = {plain(Requirement(line).name) for line in wanted()}
    only_here = {
        plain(Requirement(line).name) for name in ("docs", "lint") for line in extras[name]
    }
    assert set(pins("newest.txt")) == (needed - only_here) | {"editables"}
