"""Counts that never stop, conversions to the bit, magnitudes at the edge, and where NaN gets to."""

import pytest
import torch

import trilby
from trilby.mixers.mean import State
from trilby.shapes import FLOATING

FORMS = list(trilby.mean.forms)
HALVES = (torch.bfloat16, torch.float16)
EXACT = ("loop", "scan", "chunk", "step", "shard", "fused")  # others sum quotients


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("count", [250, 2**11 - 3, 2**24 - 3, 2**32 - 3, 2**40])
@pytest.mark.parametrize("form", FORMS)
def test_a_count_goes_on_where_the_dtype_stops(form, count, dtype):
    x = torch.ones(1, 12, 2, dtype=dtype)
    state = State(torch.full((1, 2), float(count), dtype=torch.float64), torch.tensor([count]))
    y, after = trilby.mean(x, state, form=form)
    assert after.count.item() == count + 12
    assert after.total.tolist() == [[count + 12.0] * 2]
    if form in EXACT or dtype != torch.float64:
        assert torch.equal(y, x)
    else:
        torch.testing.assert_close(y, x, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_more_positions_than_float32_can_count(dtype):
    x = torch.ones(1, 2**22, 1, dtype=dtype)
    state = None
    for _ in range(5):
        y, state = trilby.mean.fused(x, state)
    assert torch.equal(y, x)
    assert state.count.item() == 5 * 2**22 > 2**24


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("form", FORMS)
def test_a_constant_stays_constant(form, dtype):
    edge = torch.finfo(dtype)
    values = [
        0.1,
        -1 / 3,
        edge.max,
        -edge.max,
        edge.smallest_normal,
        edge.smallest_normal * edge.eps,
    ]
    x = torch.tensor(values, dtype=torch.float64).to(dtype).expand(1, 70, -1)
    y, _ = trilby.mean(x, form=form)
    assert torch.equal(y, x), "the sum overflowed, or was rounded more than once"


@pytest.mark.parametrize("form", FORMS)
def test_float64_at_its_maximum_overflows_where_sums_are_divided(form):
    x = torch.full((1, 2, 1), torch.finfo(torch.float64).max, dtype=torch.float64)
    y = trilby.mean(x, form=form)[0].flatten().tolist()
    assert y == [x[0, 0, 0], torch.inf if form in EXACT else x[0, 0, 0]]


@pytest.mark.parametrize("axis", [0, 2], ids=["series", "rows"])
@pytest.mark.parametrize("dtype", HALVES)
def test_the_kernel_reads_and_writes_all_bit_patterns(dtype, axis):
    bits = torch.arange(-(2**15), 2**15).to(torch.int16)
    x = bits.view(dtype).reshape([-1 if i == axis else 1 for i in range(3)])
    y, state = trilby.mean.fused(x)
    torch.testing.assert_close(y, x, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(
        state.total.flatten(), x.double().flatten(), rtol=0, atol=0, equal_nan=True
    )
    assert y.isnan().sum() == x.isnan().sum() > 0


def _awkward(dtype):
    """float64 values around every edge of a dtype: its numbers, the ties between, a bit beside."""
    every = torch.arange(2**15).to(torch.int16).view(dtype).double()
    every = every[every.isfinite()]
    ties = (every[1:] + every[:-1]) / 2
    top = torch.finfo(dtype).max * torch.tensor([1, 1 + 2.0**-9, 1 + 2.0**-12, 1.5, 4]).double()
    rng = torch.Generator().manual_seed(0)
    drawn = torch.randn(50_000, generator=rng, dtype=torch.float64)
    drawn = drawn * 2.0 ** torch.randint(-160, 130, drawn.shape, generator=rng)
    near = torch.cat([every, ties, top, drawn])
    near = torch.cat([near, near * (1 + 2.0**-20), near * (1 - 2.0**-20), near * (1 + 2.0**-40)])
    full = torch.tensor([2**63 - 1, -1]).view(torch.float64)  # NaN that rounding would overflow
    special = torch.tensor([torch.inf, -torch.inf, torch.nan], dtype=torch.float64)
    return torch.cat([near, -near, special, full])


@pytest.mark.parametrize("form", ["fused", "step"])
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_a_float64_is_rounded_as_torch_rounds_it(dtype, form):
    value = _awkward(dtype)
    for axis in (0, 1):  # along the batch, and along the channels
        total = 2 * value.unsqueeze(1 - axis)
        state = State(total, torch.ones(total.shape[0], dtype=torch.int64))
        y, _ = trilby.mean(torch.zeros(total.shape, dtype=dtype)[:, None], state, form=form)
        torch.testing.assert_close(y.flatten(), value.to(dtype), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("layout", ["rows", "series"])
@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_finite_reaches_the_future_and_the_past_as_documented(
    form, dtype, poison, layout
):
    clean, *_ = trilby.mean.draw(B=2, T=140, C=3, dtype=dtype)
    if layout == "series":
        clean = clean.mT.contiguous().mT
    x = clean.clone()
    x[0, 70, 1] = poison  # the second chunk begins at 64
    y, _ = trilby.mean(x, form=form)
    bad = ~y.isfinite()
    spoilt = {"matrix": 0, "softmax": 0, "chunk": 64}.get(form, 70)
    expected = torch.zeros_like(bad)
    expected[0, spoilt:, 1] = True
    assert torch.equal(bad, expected)
    rest, _ = trilby.mean(clean, form=form)
    assert torch.equal(y[~bad], rest[~bad])
    assert "They reach *earlier* ones in `matrix`" in trilby.mean.__doc__


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("form", FORMS)
def test_autocast_does_not_touch_the_dtype(form, dtype):
    x, *_ = trilby.mean.draw(T=70, dtype=dtype)
    plain, state = trilby.mean(x, form=form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, after = trilby.mean(x, form=form)
    assert y.dtype == dtype
    assert torch.equal(y, plain)
    assert torch.equal(after.total, state.total)
