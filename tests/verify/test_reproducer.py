"""A reproducer runs where it can be written down, and says what is missing where it cannot."""

import contextlib
import io

import numpy as np
import pytest
import torch
from tests.verify.ways import drawn

import trilby
from trilby.verify import same


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("g", [trilby.mean.scan, torch.exp, torch.nn.functional.relu])
def test_a_reproducer_asks_the_same_question(g, dtype):
    x = drawn(1337, dtype=getattr(torch, dtype))
    x[0, 0, 0] = torch.inf
    x[1, 2, 0] = torch.nan
    verdict = same(trilby.mean.loop, g, x)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(verdict.reproducer, {})
    assert said.getvalue() == f"{verdict}\n"


def test_names_and_other_arguments_are_written():
    verdict = same(torch.add, torch.sub, torch.ones(1), other=2, alpha=torch.tensor(3))
    assert verdict.reproducer.splitlines() == [
        "import torch",
        "import trilby",
        "f = torch.add",
        "g = torch.sub",
        "x = torch.tensor([1.0], dtype=torch.float32)",
        "other = 2",
        "alpha = torch.tensor(3, dtype=torch.int64)",
        "print(trilby.same(f, g, x, other=other, alpha=alpha))",
    ]


def test_what_cannot_be_written_is_named():
    f = lambda x, y, z: x
    lines = same(f, torch.nn.Linear(2, 2), drawn(0, 9, 9, 9), np.ones(2), {}).reproducer
    assert "f = ...  # test_what_cannot_be_written_is_named.<locals>.<lambda>, line " in lines
    assert "g = ...  # Linear" in lines
    assert "x0 = ...  # Tensor, torch.float32, [9, 9, 9]" in lines
    assert "x1 = ...  # ndarray, float64, [2]" in lines
    assert "x2 = ...  # dict" in lines
    compile(lines, "reproducer", "exec")


def test_an_empty_tensor_keeps_its_shape():
    assert (
        "x = torch.zeros([0, 3], dtype=torch.float32)"
        in same(torch.exp, torch.exp, torch.ones(0, 3)).reproducer
    )
