"""Everything that the two commands install is pinned to one version, transitive packages too."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

from tests.house.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PIN = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*")
BY_MACHINE = ("nvidia-", "cuda-", "triton")  # torch brings these, exactly pinned by itself


def pins(name: str) -> list[str]:
    lines = (ROOT / "requirements" / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


def plain(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def unpinned(wanted: list[str], pinned: set[str]) -> set[str]:
    """Installed packages that `wanted` leads to and that no pin names."""
    seen: set[str] = set()
    todo = [plain(w) for w in wanted]
    while todo:
        name = todo.pop()
        if name in seen or name.startswith(BY_MACHINE):
            continue
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # wanted on another platform only
        seen.add(name)
        todo += [plain(n) for n in needs if "extra ==" not in n]
    return seen - pinned


def wanted() -> list[str]:
    extras = PROJECT["project"]["optional-dependencies"]
    groups = (extras[name] for name in ("test", "docs", "lint"))
    first = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"]]
    return first + [requirement for group in groups for requirement in group]


def test_every_line_is_an_exact_version():
    for line in (*pins("dev.txt"), *pins("bench.txt")):
        assert PIN.fullmatch(line), line


def test_nothing_is_left_unpinned():
    assert unpinned(wanted(), {plain(line) for line in pins("dev.txt")}) == set()


def test_a_missing_pin_is_found():
    pinned = {plain(line) for line in pins("dev.txt")} - {"sympy", "click"}
    assert unpinned(wanted(), pinned) == {"sympy", "click"}
