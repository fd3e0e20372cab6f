"""Rounding shrinks with precision, a difference in function does not; where float64 cannot run."""

import numpy as np
import pytest
import torch
from tests.verify.ways import DTYPES, drawn

from trilby.cli.tour.notebook import by_loop, by_matrix
from trilby.mixers import mean
from trilby.verify import same
from trilby.verify.precision.recast import Recast

x = drawn(1337)
LONG = 1_000_000


def _naive(x):
    """Sums one after another in the dtype of x, which torch's own sum and cumsum do not."""
    sums = np.cumsum(x.numpy(), axis=-1)
    return torch.from_numpy(sums)


def _balanced(seed, dtype):
    """A million numbers whose sum is zero but for rounding."""
    half = drawn(seed, LONG // 2, dtype=dtype)
    return torch.cat([half, -half.flip(0)])


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_long_sums_that_cancel_are_one_function(seed, dtype):
    given = _balanced(seed, dtype)
    verdict = same(lambda x: x.sum(), lambda x: _naive(x)[-1], given)
    assert verdict or (verdict.kind, dtype) == ("rounding", torch.float32), verdict
    verdict = same(lambda x: x.sum(), lambda x: x.flip(0).sum(), drawn(seed, LONG, dtype=dtype))
    assert verdict, verdict


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_a_small_difference_in_a_sum_that_cancels_is_no_rounding(seed, dtype):
    given = _balanced(seed, dtype)
    verdict = same(lambda x: x.sum(), lambda x: _naive(x)[-1] + 1e-5, given)
    assert verdict.kind == "different", verdict
    verdict = same(lambda x: x.sum(), lambda x: _naive(x)[-1] + 1e-7 * x[:1000].sum(), given)
    assert verdict.kind == "different", verdict


@pytest.mark.parametrize("value", [0.1, 1 / 3])
def test_a_bias_of_one_sign_is_rounding(value):
    up = torch.full((1, 50_000, 1), value)
    given = torch.cat([up, -up], 1)
    for form in (mean.fused, mean.step, mean.chunk):
        some = given[:, :: 50 if form is mean.step else 1].double()
        verdict = same(mean.scan, form, some, gradients=form is mean.fused)  # others take long
        assert verdict, verdict


@pytest.mark.parametrize("seed", range(5))
def test_a_mean_near_zero_at_long_T_is_one_function(seed):
    given = drawn(seed, 1, 200_000, 1)
    given -= given.mean()
    verdict = same(mean.scan, mean.fused, given)
    assert verdict, verdict
    future = lambda x: (mean.scan(x)[0] + 1e-3 * x[:, :1].mean(1, keepdim=True), mean.scan(x)[1])
    assert same(mean.scan, future, given).kind == "different"


def test_code_that_names_float32_is_judged_in_float64_all_the_same():
    def normalised(x, factor=1.0):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
        return y.type_as(x) * factor * torch.tensor(0.1, dtype=torch.float32).to(x.dtype)

    by_norm = lambda x: x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * 0.1
    for dtype in DTYPES[1:]:
        assert same(normalised, by_norm, x.to(dtype))
        verdict = same(normalised, lambda x: normalised(x, 1 + 2.0**-10), x.to(dtype))
        assert verdict.kind == "different", verdict


def test_a_captured_matrix_of_float32_has_an_allowance_of_its_own():
    wei = torch.ones(8, 8).tril()
    wei /= wei.sum(1, keepdim=True)
    assert same(by_loop, lambda x: wei @ x, x)
    verdict = same(by_loop, lambda x: (wei * 1.0001) @ x, x)
    assert verdict.kind == "different", verdict
    verdict = same(lambda x: wei @ x, lambda x: (wei * (1 + 1e-6)) @ x, x)
    assert verdict.kind == "different", verdict  # both hold wei: its rounding explains nothing


def test_recast_runs_in_one_dtype_and_notes_what_it_met():
    outside = torch.ones(3)
    with Recast(torch.float64) as mode:
        y = outside.half() * torch.zeros(3, dtype=torch.float32) + torch.ones(3, dtype=torch.int64)
    assert y.dtype == torch.float64
    assert list(mode.outside) == [outside.untyped_storage().data_ptr()]
    assert outside.dtype == torch.float32


def test_recast_moves_a_tensor_alike_wherever_it_is_met():
    outside = torch.rand(4, 3)
    with Recast(torch.float64, signs=0):
        assert torch.equal(outside.double(), outside.T.double().T)
        assert torch.equal(outside[1:].double(), outside.double()[1:])
        moved = outside.double()
    assert not torch.equal(moved, outside.double())
    torch.testing.assert_close(moved.float(), outside)
    with Recast(torch.float64, signs=0, fixed=frozenset([outside.untyped_storage().data_ptr()])):
        assert torch.equal(outside.double(), moved) is False


def _narrow(way, factor=1.0):
    def narrow(x):
        if x.dtype == torch.float64:
            raise TypeError("float64 is not for me")
        return way(x) * factor

    return narrow


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_one_way_without_float64_is_held_against_the_other(dtype):
    said = (
        f"; judged in {str(dtype)[6:]} against the float64 of by_loop, for narrow has none "
        "(TypeError: float64 is not for me): a smaller difference of function would pass for "
        "rounding"
    )
    for f, g in ((by_loop, _narrow(by_matrix)), (_narrow(by_matrix), by_loop)):
        verdict = same(f, g, x.to(dtype))
        assert verdict
        assert str(verdict).endswith(said)
    verdict = same(by_loop, _narrow(by_matrix, 3), x.to(dtype))
    assert verdict.kind == "different"
    assert str(verdict).endswith(said)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_no_way_with_float64_is_judged_in_the_working_dtype_and_says_so(dtype):
    verdict = same(_narrow(by_loop), _narrow(by_matrix), x.to(dtype))
    assert verdict
    assert f"; judged in {str(dtype)[6:]} alone against narrow (the first), " in str(verdict)
    assert "neither runs in float64 (TypeError: float64 is not for me)" in str(verdict)
    assert same(_narrow(by_loop), _narrow(by_matrix, 3), x.to(dtype)).kind == "different"


def test_a_way_that_hides_float32_in_numpy_has_no_float64():
    hidden = lambda factor: (
        lambda x: torch.from_numpy(
            np.float32(factor) * np.cumsum(x.numpy().astype(np.float32), 1)
        ).to(x.dtype)
    )
    assert same(lambda x: x.cumsum(1), hidden(1), x)
    verdict = same(lambda x: x.cumsum(1), hidden(1.001), x)
    assert verdict.kind == "different"
    assert "its float64 has the digits of float32" in str(verdict)
    short = lambda x: (x * 4).round() / 4
    verdict = same(short, lambda x: 1.001 * short(x), x.bfloat16())
    assert (verdict.kind, "judged in" in str(verdict)) == ("different", False)


def test_a_twin_of_another_structure_is_no_twin():
    def turns(x):
        return by_loop(x) if x.dtype == torch.float32 else (by_loop(x),)

    def grows(x):
        return by_loop(x) if x.dtype == torch.float32 else by_loop(x)[:1]

    for way in (turns, grows):
        verdict = same(by_matrix, way, x)
        assert verdict
        assert f"for {way.__name__} has none (y is" in str(verdict)


def test_an_argument_that_may_not_be_moved_is_not_held_against_the_way():
    def strict(x):
        if not bool((x <= 1).all()):
            raise ValueError("above 1")
        return 2 * x

    assert same(strict, lambda x: x + x, torch.ones(2, 3))
