"""Imports go to lower layers only, lazy ones included; none imports `trilby/__init__.py`."""

import subprocess
import sys

import pytest

from tests.house.floors import broken, broken_inside, imports, outsiders
from tests.house.tree import SOURCES

STANDARD = set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_only_go_down(module):
    assert broken(SOURCES[module], module) == []


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("trilby/shapes.py", "from .mixers import mean", "trilby.mixers.mean"),
        (
            "trilby/kernels/ops/__init__.py",
            "def f():\n    from ...mixers.mean import loop",
            "trilby.mixers",
        ),
        (
            "trilby/kernels/ops/__init__.py",
            "import_module('...verify', __package__)",
            "trilby.verify",
        ),
        ("trilby/kernels/ops/__init__.py", "import_module(name)", "computed"),
        ("trilby/kernels/ops/__init__.py", "from ... import mean", "trilby.mean"),
        ("trilby/kernels/ops/__init__.py", "from ...data import sonnets", "trilby.data"),
        ("trilby/verify/laws.py", "import trilby", "trilby"),
        ("trilby/errors.py", "from . import shapes", "trilby.shapes"),
        ("trilby/mixers/decay.py", "from .mean import loop", "trilby.mixers.mean"),
        ("trilby/mixers/decay.py", "from . import mean", "trilby.mixers.mean"),
        ("trilby/bench/clock.py", "from ..cli import main", "trilby.cli"),
        ("trilby/attic.py", "", "no floor"),
    ],
)
def test_an_import_that_goes_up_is_found(module, line, found):
    (complaint,) = broken(line, module)
    assert found in complaint


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("trilby/mixers/mean.py", "from ..kernels import ops"),
        ("trilby/mixers/__init__.py", "from . import mean"),
        ("trilby/kernels/ops/__init__.py", "import_module('..cpu.prefix_mean', __package__)"),
        ("trilby/cli/show.py", "from . import words\nfrom ..verify import check\nimport rich"),
        ("trilby/__init__.py", "import_module(f'.{module}', __name__)"),
    ],
)
def test_an_import_that_goes_down_is_not_blamed(module, line):
    assert broken(line, module) == []


@pytest.mark.parametrize("module", [m for m in SOURCES if m.startswith("trilby/verify/")])
def test_folders_of_the_verifier_depend_on_each_other_one_way(module):
    assert broken_inside(SOURCES[module], module) == []


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("trilby/verify/copies/nested.py", "from ..precision import recast", "precision.recast"),
        ("trilby/verify/subjects/subject.py", "def f():\n    from ..laws import LAWS", "laws.LAWS"),
        ("trilby/verify/reports/report.py", "from ..subjects.subject import Subject", "subjects"),
        ("trilby/verify/laws/causal.py", "from .. import check", "verify.check"),
        ("trilby/verify/laws/causal.py", "from ...verify import check", "verify.check"),
        ("trilby/verify/sizes.py", "from .. import verify", "trilby.verify"),
        ("trilby/verify/same.py", "from . import attic", "verify.attic"),
        ("trilby/verify/attic/old.py", "", "no floor"),
    ],
)
def test_a_circle_inside_the_verifier_is_found(module, line, found):
    (complaint,) = broken_inside(line, module)
    assert found in complaint


def test_a_law_may_use_a_subject_and_its_own_folder():
    line = "from ..subjects import subject\nfrom .law import Law\nfrom ...card import Mixer"
    assert broken_inside(line, "trilby/verify/laws/causal.py") == []


def test_imports_are_read_as_python_resolves_them():
    text = "import a.b\nfrom .. import c\nfrom ..d import e\nfrom .f import g"
    got = list(imports(text, "trilby/verify/laws.py"))
    assert got == ["a.b", "trilby.c", "trilby.d.e", "trilby.verify.f.g"]


def test_the_operators_import_torch_alone():
    for module in (name for name in SOURCES if name.startswith("trilby/kernels/ops/")):
        ours = {"trilby"}  # the kernels, by name, when first run
        assert outsiders(SOURCES[module], module, STANDARD | {"torch"} | ours) == []
    assert outsiders("import numba", "trilby/kernels/ops/x.py", STANDARD | {"torch"}) == ["numba"]


@pytest.mark.parametrize(
    ("first", "heavy"),
    [
        ("import trilby", "torch"),
        ("import trilby.kernels.ops", "numba"),
        ("import trilby; trilby.mean", "numba"),
    ],
)
def test_what_is_heavy_loads_late(first, heavy):
    assert _loads(first, heavy) == "False"


def test_a_heavy_import_is_seen():
    assert _loads("import numba", "numba") == "True"


def _loads(first: str, heavy: str) -> str:
    asked = f"import sys; {first}; print({heavy!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.strip()
