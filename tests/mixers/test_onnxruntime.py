"""decay, delta, kda, linear and conv beside the kernels of onnxruntime, which nobody here wrote."""

import pytest
import torch

import trilby

pytest.importorskip("onnxruntime", reason="the oldest versions are tried without onnxruntime")
from tests.mixers.onnx_operators import convolution, linear_attention


def close(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def ours(rule, q, k, v, beta, g, state):
    if rule in ("linear", "gated"):
        g = g if rule == "gated" else torch.zeros_like(g)
        return trilby.decay(q, k, v, g, state)
    return trilby.delta(q, k, v, beta, g if rule == "gated_delta" else None, state)


def theirs(rule, q, k, v, beta, g, state):
    gate = g if "gated" in rule else None
    rate = beta if "delta" in rule else None
    return linear_attention(rule, q, k, v, state=state, decay=gate, beta=rate)


@pytest.mark.parametrize("began", [False, True])
@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
def test_the_four_rules_of_linear_attention(rule, began):
    given = trilby.delta.draw(B=2, T=70, H=4, K=8, V=6)
    state = torch.randn(2, 4, 8, 6) if began else None
    close(ours(rule, *given, state), theirs(rule, *given, state))


@pytest.mark.parametrize("rule", ["gated", "gated_delta"])
def test_keys_and_gates_that_are_shared_by_heads(rule):
    q, k, v, beta, g = trilby.delta.draw(B=2, T=9, H=4, K=8, V=6)
    state = torch.randn(2, 4, 8, 6)
    close(ours(rule, q, k[:, :, ::2], v, beta, g, state),
          theirs(rule, q, k[:, :, ::2], v, beta, g, state))  # fmt: skip


@pytest.mark.parametrize("rule", ["gated", "gated_delta"])
def test_resets_and_gates_that_are_nearly_one(rule):
    q, k, v, beta, g = trilby.delta.draw(B=2, T=40, H=2, K=8, V=6)
    g[:, ::7], g[:, 1::7] = -200.0, -1e-6
    state = torch.randn(2, 2, 8, 6)
    close(ours(rule, q, k, v, beta, g, state), theirs(rule, q, k, v, beta, g, state))


def test_a_stream_of_single_tokens():
    given = trilby.delta.draw(B=2, T=6, H=2, K=8, V=6)
    mine = yours = torch.randn(2, 2, 8, 6)
    for t in range(6):
        now = [x[:, t : t + 1] for x in given]
        y, mine = ours("gated_delta", *now, mine)
        z, yours = theirs("gated_delta", *now, yours)
        close([y, mine], [z, yours])


@pytest.mark.parametrize("began", [False, True])
def test_a_gate_for_each_channel(began):
    q, k, v, g, beta = trilby.kda.draw(B=2, T=70, H=4, K=8, V=6)
    state = torch.randn(2, 4, 8, 6) if began else None
    close(trilby.kda(q, k, v, g, beta, state),
          linear_attention("gated_delta", q, k, v, state=state, decay=g, beta=beta))  # fmt: skip


@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("began", [False, True])
@pytest.mark.parametrize("T", [1, 2, 9])
def test_a_convolution_with_its_past(activation, began, T):
    x, kernel, bias = trilby.conv.draw(B=2, T=T, C=5)
    state = torch.randn(2, kernel.shape[1] - 1, 5) if began else None
    y, after = trilby.conv(x, kernel, bias, state, silu=activation == "silu")
    past = None if state is None else state.mT
    z, kept = convolution(x.mT, kernel, bias, past, activation)
    close([y, after], [z.mT, kept.mT])
