"""The running mean against the notebook, numpy and pandas: every form, any shape, stride, dtype."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import trilby
from tests.mixers.oracle import excess, running_mean
from tests.mixers.sweep import LAYOUTS, laid_out, stretched
from trilby.mixers.mean import State
from trilby.shapes import FLOATING

FORMS = list(trilby.mean.forms)
LENGTHS = st.sampled_from([0, 1, 2, 3, 7, 8, 9, 31, 63, 64, 65, 127, 128, 129])
DRAWN = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@st.composite
def sequences(draw):
    """x of any size and layout."""
    B, T, C = draw(st.integers(0, 3)), draw(LENGTHS), draw(st.integers(0, 5))
    seed, size = draw(st.integers(0, 99)), draw(st.sampled_from([1e-3, 1.0, 1e3]))
    dtype = draw(st.sampled_from(FLOATING))
    x = (size * trilby.mean.draw(B=B, T=T, C=C, seed=seed, dtype=torch.float64)[0]).to(dtype)
    axis = draw(st.sampled_from([None, 0, 1, 2]))
    return laid_out(x, draw(st.sampled_from(LAYOUTS))) if axis is None else stretched(x, axis)


@st.composite
def states(draw, x):
    """None, or a past of up to 2^40 positions and an ordinary mean; of some rows, no past."""
    if draw(st.booleans()):
        return None
    B, _, C = x.shape
    counts = st.one_of(st.just(0), st.integers(1, 200), st.integers(2**24 - 2, 2**40))
    count = torch.tensor(draw(st.lists(counts, min_size=B, max_size=B)), dtype=torch.int64)
    mean = torch.randn(C, B, generator=torch.Generator().manual_seed(B), dtype=torch.float64).mT
    return State(mean * count[:, None], count)


@pytest.mark.parametrize("form", FORMS)
@DRAWN
@given(data=st.data())
def test_every_form_equals_numpy_and_goes_on_from_a_state(form, data):
    x = data.draw(sequences())
    state = data.draw(states(x))
    before = x.clone()
    y, after = trilby.mean(x, state, form=form)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert excess(y, *running_mean(x, *(state or ()))) <= 1
    assert torch.equal(x, before), "x was written to"
    cut = data.draw(st.integers(0, x.shape[1]))
    first, between = trilby.mean(x[:, :cut], state, form=form)
    second, end = trilby.mean(x[:, cut:], between, form=form)
    joined = torch.cat([first, second], 1)
    assert excess(joined, *running_mean(x, *(state or ()))) <= 1
    total = (0 if state is None else state.total) + x.double().sum(1)
    count = (0 if state is None else state.count) + torch.full(x.shape[:1], x.shape[1])
    assert (after.total.dtype, after.count.dtype) == (torch.float64, torch.int64)
    for left in (after, end):
        assert torch.equal(left.count, count)
        torch.testing.assert_close(left.total, total, rtol=1e-13, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_equals_pandas(form):
    x, *_ = trilby.mean.draw(B=1, T=200, C=3, dtype=torch.float64)
    y, _ = trilby.mean(x, form=form)
    np.testing.assert_allclose(y[0].numpy(), pd.DataFrame(x[0].numpy()).expanding().mean(), 1e-12)


def test_the_loop_is_the_notebook():
    torch.manual_seed(1337)
    B, T, C = 4, 8, 2
    x = torch.randn(B, T, C)
    xbow = torch.zeros(B, T, C)
    for b in range(B):
        for t in range(T):
            xprev = x[b, : t + 1]
            xbow[b, t] = torch.mean(xprev, 0)
    y, _ = trilby.mean.loop(x)
    torch.testing.assert_close(y, xbow, rtol=3e-7, atol=6e-8)  # its sums are float32, ours float64
    printed = [
        [0.1808, -0.0700],
        [-0.0894, -0.4926],
        [0.1490, -0.3199],
        [0.3504, -0.2238],
        [0.3525, 0.0545],
        [0.0688, -0.0396],
        [0.0927, -0.0682],
        [-0.0341, 0.1332],
    ]
    assert (y[0] - torch.tensor(printed)).abs().max() <= 0.5001e-4


@pytest.mark.parametrize("size", [1, 2, 7, 63, 64, 65, 1000])
def test_the_size_of_a_chunk_changes_nothing(size):
    x, *_ = trilby.mean.draw(T=130, dtype=torch.float64)
    y, state = trilby.mean(x, form="chunk", size=size)
    assert excess(y, *running_mean(x)) <= 1
    assert state.count.tolist() == [130, 130]


@pytest.mark.parametrize(("T", "form"), [(0, "fused"), (1, "step"), (2, "fused"), (300, "fused")])
def test_the_best_form_on_a_cpu(T, form):
    assert trilby.mean.best(torch.zeros(1, T, 1)) == form


def test_the_best_form_where_there_is_no_kernel(monkeypatch):
    monkeypatch.setattr("trilby.kernels.ops.DEVICES", ("elsewhere",))
    assert trilby.mean.best(torch.zeros(1, 2, 1)) == "scan"
    assert trilby.mean(torch.ones(1, 2, 1))[0].tolist() == [[[1.0], [1.0]]]


@pytest.mark.parametrize("dtype", FLOATING)
def test_the_weights_say_what_the_mean_does(dtype):
    x, *_ = trilby.mean.draw(B=2, T=9, C=3, seed=1, dtype=torch.float64)
    state = trilby.mean(x[:, :4])[1]._replace(count=torch.tensor([4, 70]))
    wei, carried = trilby.mean.weights(x, state)
    torch.testing.assert_close(wei @ x + carried, trilby.mean.loop(x, state)[0], rtol=1e-13,
                               atol=1e-14)  # fmt: skip
    share = 1 - wei.sum(-1, keepdim=True)  # what a row leaves to the mean that the state holds
    mean = (state.total / state.count[:, None])[:, None]
    torch.testing.assert_close(carried, share * mean, rtol=1e-13, atol=1e-14)
    slope = torch.autograd.functional.jacobian(lambda v: trilby.mean.loop(v, state)[0], x)
    for b in range(2):
        torch.testing.assert_close(wei[b], slope[b, :, 0, b, :, 0])
    coarse = trilby.mean.weights(x.to(dtype), state)
    assert torch.equal(coarse.wei, wei.to(dtype))
    assert torch.equal(coarse.carried, carried.to(dtype))


def test_the_weights_of_nothing():
    wei, carried = trilby.mean.weights(torch.zeros(2, 0, 3))
    assert (wei.shape, carried.shape) == ((2, 0, 0), (2, 0, 3))
    assert trilby.mean.weights(torch.ones(1, 3, 1)).carried.tolist() == [[[0.0]] * 3]
