"""The gated delta rule and Kimi delta attention, against transformers and against formulas."""

import pytest
import torch
from torch.nn.functional import logsigmoid, softplus

from tests.functional.outside import NARROW, normal, same, theirs
from trilby.functional import (
    chunk_gated_delta_rule,
    chunk_kda,
    fused_recurrent_gated_delta_rule,
    fused_recurrent_kda,
)

B, T, H, HV, K, V = 2, 7, 2, 4, 3, 5
RULES = (chunk_gated_delta_rule, fused_recurrent_gated_delta_rule)
KIMI = (chunk_kda, fused_recurrent_kda)


def rule(state=True):
    given = dict(
        q=normal(B, T, H, K), k=normal(B, T, H, K, seed=1), v=normal(B, T, HV, V),
        g=logsigmoid(normal(B, T, HV)), beta=normal(B, T, HV, seed=1).sigmoid(),
    )  # fmt: skip
    return given | (dict(initial_state=normal(B, HV, K, V)) if state else {})


def kimi(state=True):
    given = rule(state)
    given |= dict(q=normal(B, T, HV, K), k=normal(B, T, HV, K, seed=1))
    return given | dict(g=logsigmoid(normal(B, T, HV, K)))


def renamed(call, **how):
    """Transformers' function, under the names of flash-linear-attention."""
    return lambda q, k, v, g, beta, initial_state=None: call(
        q, k, v, g, beta, initial_state=initial_state, **how
    )


def fixed(call, **how):
    return lambda **tensors: call(**tensors, **how)


@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("ours", RULES)
def test_the_gated_delta_rule_is_that_of_qwen3_next(ours, norm, state):
    how = dict(output_final_state=True, use_qk_l2norm_in_kernel=norm)
    name = "chunk" if ours is chunk_gated_delta_rule else "recurrent"
    other = theirs("qwen3_next", f"torch_{name}_gated_delta_rule")
    same(fixed(ours, **how), renamed(other, **how), rule(state))


@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("ours", KIMI)
def test_kimi_delta_attention_is_that_of_kimi_linear(ours, norm, state):
    how = dict(output_final_state=True, use_qk_l2norm_in_kernel=norm)
    name = "chunk_kimi" if ours is chunk_kda else "recurrent_kimi"
    other = theirs("kimi_linear", f"{name}_delta_attention")
    same(fixed(ours, **how), renamed(other, **how), kimi(state))


def test_kimi_delta_attention_has_more_heads_of_values():
    given = kimi() | dict(q=normal(B, T, H, K), k=normal(B, T, H, K, seed=1))
    wide = lambda q, k, **rest: chunk_kda(
        q.repeat_interleave(2, 2), k.repeat_interleave(2, 2), output_final_state=True, **rest
    )
    same(fixed(chunk_kda, output_final_state=True), wide, given)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize(
    ("ours", "model", "name", "given"),
    [
        (chunk_gated_delta_rule, "qwen3_next", "torch_chunk_gated_delta_rule", rule()),
        (chunk_kda, "kimi_linear", "chunk_kimi_delta_attention", kimi()),
    ],
)
def test_halves_are_computed_in_float32_and_given_back_as_halves(ours, model, name, given, norm):
    half = {n: t.bfloat16() for n, t in given.items()}
    how = dict(output_final_state=True, use_qk_l2norm_in_kernel=norm)
    y, state = ours(**half, **how)
    right, last = renamed(theirs(model, name), **how)(**half)
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(y, right, rtol=2**-7, atol=1e-5)
    torch.testing.assert_close(state, last.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ours", RULES + KIMI)
def test_without_a_wish_there_is_no_state_and_a_scale_multiplies(ours):
    given = rule() if ours in RULES else kimi()
    y, state = ours(**given, scale=2.0)
    assert state is None
    torch.testing.assert_close(y, ours(**given)[0] * 2 * K**0.5, **NARROW)


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("ours", RULES + KIMI)
def test_states_with_values_first_are_transposed(ours, older):
    given = rule() if ours in RULES else kimi()
    y, state = ours(**given, output_final_state=True)
    name = "transpose_state_layout" if older else "state_v_first"
    turned = given | dict(initial_state=given["initial_state"].mT.contiguous())
    right, other = ours(**turned, **{name: True}, output_final_state=True)
    assert other.shape == (B, HV, V, K)
    torch.testing.assert_close((y, state), (right, other.mT), **NARROW)


@pytest.mark.parametrize("twice", [True, False])
@pytest.mark.parametrize("ours", RULES + KIMI)
def test_beta_before_its_sigmoid(ours, twice):
    given = rule() if ours in RULES else kimi()
    raw = given | dict(beta=normal(B, T, HV))
    how = dict(use_beta_sigmoid_in_kernel=True, allow_neg_eigval=twice, output_final_state=True)
    outside = lambda beta, **rest: ours(
        beta=beta.sigmoid() * (1 + twice), output_final_state=True, **rest
    )
    same(fixed(ours, **how), outside, raw)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ours", RULES)
def test_a_gate_before_its_softplus(ours, bias):
    given = rule() | dict(g=normal(B, T, HV), A_log=normal(HV))
    given |= dict(dt_bias=normal(HV, seed=1)) if bias else {}
    outside = lambda g, A_log, dt_bias=0, **rest: ours(
        g=-A_log.exp() * softplus(g + dt_bias), **rest
    )
    same(fixed(ours, use_gate_in_kernel=True), outside, given)


@pytest.mark.parametrize("bound", [-5.0, None])
@pytest.mark.parametrize("ours", KIMI)
def test_a_gate_for_each_channel_before_its_function(ours, bound):
    given = kimi() | dict(g=normal(B, T, HV, K), A_log=normal(HV), dt_bias=normal(HV * K))

    def outside(g, A_log, dt_bias, **rest):
        raw, rate = g + dt_bias.view(HV, K), A_log.exp()[:, None]
        return ours(g=bound * (rate * raw).sigmoid() if bound else -rate * softplus(raw), **rest)

    same(fixed(ours, use_gate_in_kernel=True, lower_bound=bound), outside, given)


def test_a_lower_bound_needs_no_rates():
    given = kimi(state=False)
    y, _ = chunk_kda(**given, use_gate_in_kernel=True, lower_bound=-3.0)
    right, _ = chunk_kda(**given | dict(g=-3 * given["g"].sigmoid()))
    torch.testing.assert_close(y, right, **NARROW)


def test_gates_of_channels_join_that_of_the_head():
    given = kimi() | dict(gk=logsigmoid(normal(B, T, HV, K, seed=2)), g=rule()["g"])
    outside = lambda g, gk, **rest: chunk_kda(g=g[..., None] + gk, **rest)
    same(fused_recurrent_gated_delta_rule, outside, given)


def test_no_gate_is_a_gate_of_zeros_and_no_beta_is_a_beta_of_ones():
    given = rule()
    ones, zeros = torch.ones(B, T, HV).double(), torch.zeros(B, T, HV).double()
    right = chunk_gated_delta_rule(**given | dict(g=zeros))[0]
    y = chunk_gated_delta_rule(**given | dict(g=None))[0]
    torch.testing.assert_close(y, right, **NARROW)
    right = fused_recurrent_gated_delta_rule(**given | dict(beta=ones))[0]
    y = fused_recurrent_gated_delta_rule(**given | dict(beta=None))[0]
    torch.testing.assert_close(y, right, **NARROW)
