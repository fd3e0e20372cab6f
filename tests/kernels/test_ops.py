"""Operators against torch's own checker, and the shares of the threads."""

import pytest
import torch

import trilby
from trilby.kernels import ops
from trilby.kernels.machine.threads import shares

OPERATORS = [torch.ops.trilby.prefix_mean.default, torch.ops.trilby.prefix_mean_backward.default]


def arguments(dtype: torch.dtype, layout: str = "contiguous", grad: bool = False):
    x = trilby.mean.draw(B=2, T=9, C=3, dtype=dtype)[0]
    x = x.transpose(1, 2).contiguous().transpose(1, 2) if layout == "time" else x
    total = torch.randn(2, 3, dtype=torch.float64)
    return x.requires_grad_(grad), total.requires_grad_(grad), torch.tensor([3, 0])


@pytest.mark.parametrize("layout", ["contiguous", "time"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("operator", OPERATORS, ids=["forward", "backward"])
def test_opcheck(operator, dtype, layout):
    torch.library.opcheck(operator, arguments(dtype, layout, grad=dtype == torch.float64))


def test_the_two_are_each_other_s_transpose():
    x, total, count = arguments(torch.float64)
    dy, dtotal, _ = (torch.randn_like(x), torch.randn_like(total), None)
    y, left = ops.prefix_mean(x, total, count)
    dx, back = ops.prefix_mean_backward(dy, dtotal, count)
    there = (y * dy).sum() + (left * dtotal).sum()
    again = (x * dx).sum() + (total * back).sum()
    assert float(there - again) == pytest.approx(0, abs=1e-13)


@pytest.mark.parametrize("length", [0, 1, 5, 1024, 1025, 4096])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize("grain", [1, 4, 1024])
def test_shares_cover_everything_once(length, parts, grain):
    found = shares(length, parts, grain)
    assert len(found) <= max(parts, 1)
    assert [i for a, b in found for i in range(a, b)] == list(range(length))
    assert all(a % grain == 0 for a, _ in found)


def test_threads_change_nothing():
    x = torch.randn(3, 2000, 2100)
    before = torch.get_num_threads()
    try:
        found = []
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            found.append(trilby.mean.fused(x)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
