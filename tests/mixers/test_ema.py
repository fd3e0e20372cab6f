"""The exponential moving average beside pandas and scipy, its parameter, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import lfilter
from torch.autograd import gradcheck, gradgradcheck

import trilby
from trilby.errors import DtypeError, NumberError, StateError
from trilby.mixers.ema import State

FORMS = list(trilby.ema.forms)
T = 150
CLOSE = dict(rtol=1e-11, atol=1e-11)  # float64: right programs agree to 1e-14 or so


def drawn(T=T, dtype=torch.float64, seed=0):
    return trilby.ema.draw(B=2, T=T, C=3, seed=seed, dtype=dtype)


@pytest.mark.parametrize("adjust", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_the_averages_of_pandas(form, adjust):
    x, a = drawn()
    y, _ = trilby.ema(x, a, adjust=adjust, form=form)
    same, _ = trilby.ema(x, 0.9, adjust=adjust, form=form)
    for b in range(2):
        frame = pd.DataFrame(x[b].numpy())
        for c in range(3):
            wanted = frame[c].ewm(alpha=1 - a[c].item(), adjust=adjust).mean()
            np.testing.assert_allclose(y[b, :, c], wanted, **CLOSE)
        np.testing.assert_allclose(same[b], frame.ewm(alpha=0.1, adjust=adjust).mean(), **CLOSE)


@pytest.mark.parametrize("start", [0.0, 3.5])
@pytest.mark.parametrize("form", FORMS)
def test_the_filter_of_scipy(form, start):
    x, _ = drawn()
    state = State(torch.full((2, 3), start).double(), torch.ones(2, 3).double())
    y, after = trilby.ema(x, 0.9, state, form=form)
    zi = np.full((2, 1, 3), 0.9 * start)
    wanted, left = lfilter([1 - 0.9], [1, -0.9], x.numpy(), axis=1, zi=zi)
    np.testing.assert_allclose(y, wanted, **CLOSE)
    np.testing.assert_allclose(0.9 * after.total[:, None] / after.weight[:, None], left, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_no_fading_is_the_mean_and_all_of_it_is_x(form):
    x, _ = drawn()
    mean = trilby.mean(x)[0]
    torch.testing.assert_close(trilby.ema(x, 1, adjust=True, form=form)[0], mean, **CLOSE)
    for adjust in (False, True):
        torch.testing.assert_close(trilby.ema(x, 0.0, adjust=adjust, form=form)[0], x, **CLOSE)
    first = trilby.ema(x, 1.0, form=form)[0]
    torch.testing.assert_close(first, x[:, :1].expand(x.shape), **CLOSE)


@pytest.mark.parametrize("adjust", [False, True])
@pytest.mark.parametrize("form", FORMS[1:])
def test_gradients_of_x_a_and_the_state_with_and_without_documents(form, adjust):
    x, a = drawn(T=6)
    state = trilby.ema.loop(x, a, adjust=adjust)[1]
    for packed in (None, torch.tensor([[0, 0, 1, 1, 2, 2], [0] * 6])):
        leaves = [t.detach().requires_grad_() for t in (x, a, *state)]

        def call(x, a, total, weight, packed=packed):
            y, after = trilby.ema(x, a, State(total, weight), packed, adjust=adjust, form=form)
            return y, *after

        assert gradcheck(call, leaves)
        assert gradgradcheck(lambda *given, call=call: call(*given)[0], leaves)


@pytest.mark.parametrize("adjust", [False, True])
@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 1000])
def test_the_size_of_a_chunk_changes_nothing(size, adjust):
    x, a = drawn()
    wanted = trilby.ema(x, a, adjust=adjust, form="loop")
    found = trilby.ema(x, a, adjust=adjust, form="chunk", size=size)
    torch.testing.assert_close(found, wanted, **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", FORMS)
def test_narrow_dtypes_are_rounded_once(form, dtype):
    x, a = drawn(dtype=dtype)
    y, state = trilby.ema(x, a.float(), form=form)  # a may stay float32 beside halves
    assert (y.dtype, state.total.dtype, state.weight.dtype) == (dtype, torch.double, torch.double)
    exact = trilby.ema.loop(x.double(), a.double())[0]
    torch.testing.assert_close(y.double(), exact, rtol=0.51 * torch.finfo(dtype).eps, atol=1e-7)
    if dtype == torch.float32:
        return
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(trilby.ema(x, a, form=form)[0], y)


def test_nan_reaches_the_future_only():
    for form in ("loop", "step"):
        x, a = drawn(T=9)
        x[0, 4, 1] = torch.nan
        documents = torch.tensor([[0] * 6 + [1] * 3, [0] * 9])
        spoiled = trilby.ema(x, a, None, documents, form=form)[0].isnan()
        assert spoiled.nonzero().tolist() == [[0, 4, 1], [0, 5, 1]]


@pytest.mark.parametrize(
    ("B", "C", "T", "form"),
    [(1, 8, 1, "step"), (1, 8, 9, "scan"), (4, 64, 9, "scan")],
)
def test_the_best_form_without_a_kernel(B, C, T, form, monkeypatch):
    assert trilby.ema.best(torch.zeros(B, T, C), 0.5) == "fused"
    monkeypatch.setattr(trilby.kernels.ops, "obstacle", lambda _: "is elsewhere;")
    assert trilby.ema.best(torch.zeros(B, T, C), 0.5) == form


X, ONE = torch.zeros(2, 5, 4), torch.ones(2, 4, dtype=torch.float64)
PAIR = "the pair (total [B, C], weight [B, C]) that an earlier call returned"


@pytest.mark.parametrize("call", [*FORMS, "weights"])
@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ((X, 1.5), NumberError, "a is 1.5, expected a number from 0 to 1"),
        ((X, float("nan")), NumberError, "a is nan, expected a number from 0 to 1"),
        ((X, torch.tensor([0.5, 1, -2, 0])), NumberError,
         "a holds -2, expected numbers from 0 to 1"),
        ((X, True), DtypeError, "a is True, expected a number or a tensor [C]; convert it first, "
         "e.g. torch.as_tensor(a)"),
        ((X, "0.5"), DtypeError, "a is '0.5', expected a number or a tensor [C]; convert it first, "
         "e.g. torch.as_tensor(a)"),
        ((X, 0.5, (ONE, -ONE)), StateError, "weight is -1, but weights are added up from 0; "
         "give the state that an earlier call returned"),
        ((X, 0.5, (ONE, 0 * ONE)), StateError,
         "total is not 0 where weight is 0; start from state=None"),
        ((X, 0.5, ONE), StateError, f"state is a torch.Tensor, expected {PAIR}"),
    ],
)  # fmt: skip
def test_wrong_input_is_named(call, given, error, sentence):
    with pytest.raises(error) as caught:
        getattr(trilby.ema, call)(*given)
    assert str(caught.value) == f"ema.{call}: {sentence}"


def test_a_wrong_flag_is_named():
    with pytest.raises(DtypeError) as caught:
        trilby.ema.loop(X, 0.5, adjust=2)
    assert str(caught.value) == "ema.loop: adjust is 2, expected True or False; give one"
