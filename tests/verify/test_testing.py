"""The assertions: silent where a law holds, the witness where not, no pass where it was not run."""

import pytest
import torch

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
