"""causal-conv1d: its two functions, against those of transformers and against torch."""

import pytest
import torch

from tests.functional.outside import NARROW, normal, same, theirs
from trilby.functional import causal_conv1d_fn, causal_conv1d_update

B, D, T, W = 2, 3, 7, 4


def given(bias=True):
    kernel = dict(x=normal(B, D, T), weight=normal(D, W))
    return kernel | (dict(bias=normal(D)) if bias else {})


@pytest.mark.parametrize("activation", [None, "silu", "swish"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_convolution_is_that_of_mamba(bias, activation):
    other = theirs("mamba", "causal_conv1d_fn")
    named = "silu" if activation else None
    same(
        lambda **tensors: causal_conv1d_fn(**tensors, activation=activation),
        lambda x, weight, bias=None: other(x, weight, bias, named),
        given(bias),
    )


def test_a_state_joins_two_pieces():
    kernel = given()
    past = normal(B, D, W - 1, seed=1)

    def ours(x, weight, bias, initial_states):
        first, middle = causal_conv1d_fn(
            x[..., :2], weight, bias, None, initial_states, True, activation="silu"
        )
        second, last = causal_conv1d_fn(
            x[..., 2:], weight, bias, None, middle, True, activation="silu"
        )
        return torch.cat([first, second], -1), last

    def whole(x, weight, bias, initial_states):
        both = torch.cat([initial_states, x], -1)
        y = torch.nn.functional.conv1d(both, weight[:, None], bias, groups=D)
        return torch.nn.functional.silu(y), both[..., 1 - W :]

    same(ours, whole, kernel | dict(initial_states=past))


def test_last_inputs_are_written_where_they_are_wanted():
    out = torch.zeros(B, D, W - 1, dtype=torch.float64)
    x, weight = normal(B, D, T), normal(D, W)
    _, last = causal_conv1d_fn(x, weight, return_final_states=True, final_states_out=out)
    assert last is out
    torch.testing.assert_close(out, x[..., 1 - W :], **NARROW)


@pytest.mark.parametrize("length", [W - 1, W, W + 3])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_an_update_is_that_of_mamba_and_moves_its_state(steps, length):
    other = theirs("mamba", "causal_conv1d_update")
    x, weight, bias = normal(B, D, steps), normal(D, W), normal(D)
    kept, right = (normal(B, D, length, seed=3) for _ in range(2))
    y = causal_conv1d_update(x, kept, weight, bias, "silu")
    torch.testing.assert_close(y, other(x, right, weight, bias, "silu"), **NARROW)
    torch.testing.assert_close(kept, right, **NARROW)


def test_one_position_is_two_dimensional():
    x, weight = normal(B, D), normal(D, W)
    kept, right = (normal(B, D, W, seed=3) for _ in range(2))
    y = causal_conv1d_update(x, kept, weight)
    assert y.shape == (B, D)
    whole = causal_conv1d_update(x[..., None], right, weight)
    torch.testing.assert_close((y, kept), (whole[..., 0], right), **NARROW)


def test_a_state_of_another_dtype_keeps_it():
    x, weight = normal(B, D).bfloat16(), normal(D, W).float()
    kept = normal(B, D, W).bfloat16().float()
    right = theirs("mamba", "causal_conv1d_update")(x[..., None], other := kept.clone(), weight)
    y = causal_conv1d_update(x, kept, weight)
    assert (y.dtype, kept.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(y, right[..., 0], rtol=2**-7, atol=1e-6)
    torch.testing.assert_close(kept, other)


def test_an_update_passes_gradients_and_keeps_none_in_its_state():
    kernel = given() | dict(x=normal(B, D, 2))
    other = theirs("mamba", "causal_conv1d_update")
    kept = normal(B, D, W, seed=3)
    same(
        lambda x, weight, bias: causal_conv1d_update(x, kept.clone(), weight, bias),
        lambda x, weight, bias: other(x, kept.clone(), weight, bias),
        kernel,
    )
    causal_conv1d_update(kernel["x"].requires_grad_(), kept, kernel["weight"])
    assert not kept.requires_grad


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_halves(weights):
    x, weight = normal(B, D, T).bfloat16(), normal(D, W).to(weights)
    y = causal_conv1d_fn(x, weight, activation="silu")
    assert y.dtype == torch.bfloat16
    right = causal_conv1d_fn(x.double(), weight.double(), activation="silu")
    torch.testing.assert_close(y.double(), right, rtol=2**-7, atol=2**-8)
