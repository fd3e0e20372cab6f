"""Long series: what may be cut, moved or turned without touching a bit."""

import pytest
import torch

import trilby
from trilby.kernels import ops
from trilby.kernels.cpu.prefix_mean import PAST, SEGMENT

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
LONG = 3 * SEGMENT + 21  # four segments, the last one ends in the middle of a group
BOTH = [ops.prefix_mean, ops.prefix_mean_backward]


def drawn(B: int, T: int, C: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    x = trilby.mean.draw(B=B, T=T, C=C, dtype=dtype)[0]
    total = torch.randn(B, C, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x, total, torch.arange(1, B + 1)


def equal(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(left, right) for left, right in zip(a, b, strict=True))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("operator", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("B", "C"), [(1, 1), (2, 1), (1, 3)])
def test_threads_that_share_one_series_change_nothing(threads, operator, dtype, B, C):
    x, total, count = drawn(B, LONG, C, dtype)
    x = x.mT.contiguous().mT  # time contiguous
    found = []
    for n in (1, 2, 3, 8):
        threads(n)
        found.append(operator(x, total, count))
    assert all(equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("operator", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_where_memory_begins_changes_nothing(operator, dtype):
    x, total, count = drawn(1, LONG, 1, dtype)
    wanted = operator(x, total, count)
    for shift in (1, 7):
        moved = torch.empty(LONG + shift, dtype=dtype)[shift:].view(1, LONG, 1).copy_(x)
        assert equal(operator(moved, total, count), wanted)


@pytest.mark.parametrize("operator", BOTH)
def test_strides_and_neighbours_change_no_more_than_a_rounding(operator):
    x, total, count = drawn(2, LONG, 2, torch.float64)
    y, left = operator(x.mT.contiguous().mT, total, count)  # a vector along time
    z, right = operator(x, total, count)  # a vector along channels
    torch.testing.assert_close(y, z, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-13)
    for b in range(2):
        one = operator(x[b : b + 1, :, 1:], total[b : b + 1, 1:], count[b : b + 1])  # one by one
        torch.testing.assert_close(one[0], z[b : b + 1, :, 1:], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("operator", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("T", [1, 15, 16, 17, SEGMENT - 1, SEGMENT, SEGMENT + 1])
def test_against_float64_around_the_borders(operator, dtype, T):
    x, total, count = drawn(1, T, 1, dtype)
    n = count + torch.arange(1, T + 1, dtype=torch.float64)
    if operator is ops.prefix_mean:
        sums = (total + x[0].double().cumsum(0)).flatten()
        wanted, left = sums / n, sums[-1]
    else:
        back = (x[0].double().flatten() / n).flip(0).cumsum(0).flip(0)
        wanted, left = back + total[0], back[0] + total[0, 0]
    y, found = operator(x, total, count)
    exact = dtype == torch.float64
    rounded = wanted.to(dtype).double()
    unit = 1e-13 if exact else torch.finfo(dtype).eps
    assert bool(((y.double().flatten() - rounded).abs() <= unit * rounded.abs() + unit / 64).all())
    assert float(found) == pytest.approx(float(left), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("C", [1, 5, 16, 24])
@pytest.mark.parametrize("operator", BOTH)
def test_a_result_written_past_the_caches_is_the_same(operator, C, monkeypatch):
    x, total, count = drawn(2, 2000, C)
    wanted = operator(x, total, count)
    assert wanted[0].nbytes < PAST
    monkeypatch.setattr("trilby.kernels.cpu.prefix_mean.PAST", 0)
    assert equal(operator(x, total, count), wanted)
