"""The assertions: silent where a law holds, the witness where not, no pass where it was not run."""

import subprocess
import sys

import pytest
import torch

import trilby
from trilby import testing

X = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))


def ahead(x):
    return torch.cat([x[:, 1:], x[:, -1:]], 1)


@pytest.mark.parametrize("law", ["causal", "repeats", "isolated", "differentiates", "sound"])
def test_a_right_function_passes(law):
    getattr(testing, f"assert_{law}")(lambda x: x.cumsum(1), X, effort="quick")


def test_the_message_is_the_witness():
    with pytest.raises(AssertionError, match=r"leak  ahead  y\[0, 0\] reads x\[0, 1\]") as problem:
        testing.assert_causal(ahead, X, effort="quick")
    assert "import torch" in str(problem.value)
    assert "! is a leak" in str(problem.value)


def test_what_was_not_run_is_no_pass():
    with pytest.raises(AssertionError, match=r"resumes skipped: pass carry=\.\.\. to say"):
        testing.assert_resumes(ahead, X, effort="quick")


def test_two_ways():
    testing.assert_same(torch.sin, torch.sin, X)
    with pytest.raises(AssertionError, match="different functions"):
        testing.assert_same(torch.sin, torch.cos, X)


def test_all_laws_at_once():
    testing.assert_lawful(lambda x: x.cumsum(1), X, effort="quick")
    testing.assert_lawful(trilby.mean, forms=["step"], laws=["causal"], effort="quick")
    with pytest.raises(AssertionError, match=r"causal: leak  ahead") as problem:
        testing.assert_lawful(ahead, X, effort="quick", laws=["causal", "repeats"])
    assert "import torch" in str(problem.value)
    with pytest.raises(AssertionError, match="nothing was run"):
        testing.assert_lawful(ahead, X, effort="quick", laws=["resumes"])


def test_the_laws_that_are_asked():
    ids = lambda mark: [parameter.id for parameter in mark.args[1]]
    mark = testing.parametrize_with_laws
    assert ids(mark(ahead, X)) == ["repeats", "causal", "isolated", "differentiates", "sound"]
    assert "padding" in ids(mark(ahead, X, padding="mask"))
    assert "agrees" in ids(mark(trilby.mean))
    with pytest.raises(trilby.errors.CallError, match="there is no law 'casual'"):
        mark(ahead, X, laws=["casual"])
    with pytest.raises(trilby.errors.CallError, match="'padding' among those that are asked"):
        mark(ahead, X, fails={"padding": "no mask is given"})


PYTEST = """
import torch, trilby
from trilby.testing import parametrize_with_laws

x = torch.randn(2, 16, 8)

def ahead(x):
    return torch.cat([x[:, 1:], x[:, -1:]], 1)

def test_same():
    assert trilby.same(ahead, torch.sin, x)

def test_check():
    assert trilby.check(ahead, x, effort="quick", laws=["causal"])

FAILS = {"causal": "issue 12", "repeats": "it holds"}
LAWS = ["causal", "repeats", "isolated", "resumes"]

@parametrize_with_laws(ahead, x, laws=LAWS, effort="quick", fails=FAILS)
def test_laws(law):
    law()

@parametrize_with_laws(ahead, x, laws=["causal"], effort="quick")
def test_causal(law):
    law()
"""


def test_what_pytest_shows(tmp_path):
    (tmp_path / "test_it.py").write_text(PYTEST)
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    shown = done.stdout
    assert "assert different functions: they differ by" in shown
    assert "assert causal: leak  ahead  y[0, 0] reads x[0, 1]" in shown
    assert "XFAIL test_it.py::test_laws[causal] - issue 12" in shown
    assert "[XPASS(strict)] it holds" in shown
    assert "PASSED test_it.py::test_laws[isolated]" in shown
    assert "pass carry=... to say how state is kept" in shown
    assert "leak  ahead  y[0, 0] reads x[0, 1]" in shown.partition("test_causal[causal]")[2]
    assert "def _held" not in shown  # the lines of trilby itself are no help


def test_pytest_is_imported_only_by_what_needs_it():
    assert not hasattr(testing, "pytest")
