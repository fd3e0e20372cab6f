"""Operators are registered once torch is there, whoever imports torch, and whatever comes first."""

import importlib
import sys

import pytest

import trilby
from tests.house.floors import imports
from tests.house.tree import SOURCES
from trilby.after_torch import after_torch

FILES = {
    "heavy": "import heavy_part",
    "heavy_part": "",
    "ours/__init__": "",
    "ours/low": "import heavy\nclass Low: pass",
    "ours/high": "from .low import Low\nimport heavy\nclass High(Low): pass",
    "ours/aside": "import heavy\nfrom .high import High",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    for name in [n for n in sys.modules if n.partition(".")[0] in ("heavy", "heavy_part", "ours")]:
        del sys.modules[name]


@pytest.mark.parametrize("first", ["heavy", "heavy_part", "ours.low", "ours.high", "ours.aside"])
def test_whatever_is_imported_first(package, first):
    done, before = [], list(sys.meta_path)

    def then():
        done.append(importlib.import_module("ours.high"))

    after_torch(then, ["ours.low", "ours.high"], "heavy")
    assert importlib.util.find_spec("heavy")  # a question is no import
    assert done == []
    module = importlib.import_module(first)
    if first == "heavy_part":
        assert done == []
        importlib.import_module("heavy")
    low, high = (importlib.import_module(f"ours.{name}") for name in ("low", "high"))
    assert done == [high]
    assert sys.modules[first] is module
    assert issubclass(high.High, low.Low)  # each was loaded once
    assert sys.meta_path == before
    for found in (module, low, high):
        assert found.__spec__.origin == found.__file__
        assert not {"exec_module", "create_module"} & vars(found.__spec__.loader).keys()
        assert importlib.reload(found) is found


def test_an_import_that_fails_may_be_tried_again(package, monkeypatch):
    done = []
    after_torch(lambda: done.append(1), [], "heavy")
    monkeypatch.setitem(sys.modules, "heavy_part", None)
    with pytest.raises(ImportError):
        importlib.import_module("heavy")
    assert done == []
    monkeypatch.delitem(sys.modules, "heavy_part")
    importlib.import_module("heavy")
    assert done == [1]


def test_every_module_that_comes_with_torch_and_imports_it_is_named():
    def top(name):
        return name.split(".")[1] if name.startswith("trilby.") else name

    uses: dict[str, set[str]] = {}
    for module, text in SOURCES.items():
        here = module.removesuffix(".py").split("/")[1]
        uses.setdefault(here, set()).update(top(name) for name in imports(text, module))
    needed, left = set(), ["mixers", "first_calls"]
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left += uses[name] & uses.keys()
    torch = {n for n in needed if any(u == "torch" or u.startswith("torch.") for u in uses[n])}
    assert torch - {"env"} == set(trilby._WITH_TORCH)  # env imports torch in functions alone
