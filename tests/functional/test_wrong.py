"""Wrong input: one line that names the call, the argument, its value and what to do."""

import pytest
import torch

from tests.functional import test_convolution, test_mamba, test_mamba2, test_update
from tests.functional import test_delta_rule as rules
from tests.functional.outside import normal
from trilby import functional
from trilby.errors import CallError, ShapeError

OFFSETS = torch.tensor
RULE, KIMI = rules.rule(), rules.kimi()
ROW = {n: t[:1] for n, t in rules.rule(state=False).items()}
SCAN, SCAN2 = test_mamba.given(), test_mamba2.given() | dict(chunk_size=4)
ONE = {n: t[:1] for n, t in SCAN2.items() if n not in ("A", "chunk_size")}
ONE |= dict(A=SCAN2["A"], chunk_size=4)
STEP = test_update.first() | dict(state=normal(2, 3, 5))
HEADS = test_update.second() | dict(state=normal(2, 4, 3, 5))
CONV = test_convolution.given()
PIECE = dict(x=CONV["x"], conv_state=normal(2, 3, 4), weight=CONV["weight"])
INNER = dict(
    xz=normal(2, 8, 7), conv1d_weight=normal(4, 1, 4), conv1d_bias=None,
    x_proj_weight=normal(8, 4), delta_proj_weight=normal(4, 2), out_proj_weight=normal(5, 4),
    out_proj_bias=None, A=-normal(4, 3).exp(),
)  # fmt: skip
SPLIT = dict(
    zxbcdt=normal(2, 7, 48), conv1d_weight=normal(32, 4), conv1d_bias=None, dt_bias=normal(4),
    A=-normal(4).exp(), D=normal(4), chunk_size=4, headdim=3, ngroups=2,
)  # fmt: skip
GATE = dict(use_gate_in_kernel=True)
INTS = torch.tensor([0])
BELOW = torch.tensor([[0] * 6 + [-1]] * 2)

CASES = [  # call, its arguments, what is wrong, words of the message
    ("chunk_gated_delta_rule", RULE, dict(cp_context="ring"), "cp_context is 'ring'"),
    ("chunk_gated_delta_rule", RULE, dict(head_first=True), "head_first (given True)"),
    ("chunk_gated_delta_rule", ROW, dict(cu_seqlens=OFFSETS([0, 5, 3, 7])), "is [0, 5, 3, 7]"),
    ("chunk_gated_delta_rule", ROW, dict(cu_seqlens=OFFSETS([0, 5])), "cu_seqlens is [0, 5]"),
    ("chunk_gated_delta_rule", ROW, dict(cu_seqlens=OFFSETS([1, 7])), "cu_seqlens is [1, 7]"),
    ("chunk_gated_delta_rule", ROW, dict(cu_seqlens=[0, 7]), "cu_seqlens is [0, 7]"),
    ("chunk_gated_delta_rule", ROW, dict(cu_seqlens=OFFSETS([0.0, 7.0])), "a tensor [2]"),
    ("chunk_gated_delta_rule", RULE, dict(cu_seqlens=OFFSETS([0, 7])), "there are 2 rows"),
    ("chunk_gated_delta_rule", ROW, dict(cu_seqlens=OFFSETS([0, 3, 7]),
     initial_state=normal(3, 4, 3, 5)), "initial_state is [3, 4, 3, 5]"),
    ("chunk_gated_delta_rule", RULE, dict(initial_state=normal(1, 4, 3, 5)), "[1, 4, 3, 5]"),
    ("chunk_gated_delta_rule", RULE, dict(initial_state=normal(2, 4, 5, 3)), "[2, 4, 5, 3]"),
    ("chunk_gated_delta_rule", RULE, dict(allow_neg_eigval=True), "use_beta_sigmoid_in_kernel"),
    ("chunk_gated_delta_rule", RULE, GATE, "needs A_log"),
    ("chunk_gated_delta_rule", RULE, GATE | dict(A_log=normal(3)), "A_log is [3]"),
    ("chunk_gated_delta_rule", RULE, GATE | dict(A_log=normal(4), g=None), "needs g"),
    ("chunk_gated_delta_rule", RULE, dict(A_log=normal(4)), "A_log is a tensor [4]"),
    ("chunk_gated_delta_rule", RULE, dict(state_v_first=True, transpose_state_layout=True),
     "transpose_state_layout is the older name"),
    ("chunk_gated_delta_rule", RULE, dict(q=normal(2, 7, 3, 3), k=normal(2, 7, 3, 3)),
     "H is 3 and HV is 4"),
    ("chunk_gated_delta_rule", RULE, dict(beta=normal(2, 7, 2)), "beta is [2, 7, 2]"),
    ("chunk_gated_delta_rule", RULE, dict(g=normal(2, 7, 1)), "g is [2, 7, 1]"),
    ("fused_recurrent_gated_delta_rule", RULE, dict(gv=normal(2, 7, 4, 5)), "gv is a tensor"),
    ("fused_recurrent_gated_delta_rule", RULE, dict(dt_bias=normal(4)), "dt_bias is a tensor [4]"),
    ("fused_recurrent_gated_delta_rule", RULE, dict(chunks=3), "chunks (given 3)"),
    ("chunk_kda", KIMI, dict(return_intermediate_states=True), "return_intermediate_states is"),
    ("chunk_kda", KIMI, dict(cp_context=1), "cp_context is 1"),
    ("chunk_kda", KIMI, dict(chunks=3), "chunks (given 3)"),
    ("chunk_kda", KIMI, dict(lower_bound=-5.0), "lower_bound is -5.0"),
    ("chunk_kda", KIMI, GATE, "needs A_log"),
    ("chunk_kda", KIMI, GATE | dict(A_log=normal(4), safe_gate=True), "needs lower_bound"),
    ("fused_recurrent_kda", KIMI, GATE | dict(A_log=normal(4), dt_bias=normal(5)), "is [5]"),
    ("fused_recurrent_kda", KIMI, dict(A_log=normal(4)), "A_log is a tensor [4]"),
    ("fused_recurrent_kda", KIMI, dict(safe_gate=True), "safe_gate (given True)"),
    ("selective_scan_fn", SCAN, dict(A=SCAN["A"] + 0j), "A is complex"),
    ("selective_scan_fn", SCAN, dict(B=normal(4, 3)), "B is [4, 3]"),
    ("selective_scan_fn", SCAN, dict(C=normal(4, 3)), "C is [4, 3]"),
    ("selective_scan_fn", SCAN, dict(B=normal(2, 3, 3, 7), C=normal(2, 3, 3, 7)),
     "G is 3 and D is 4"),
    ("selective_scan_fn", SCAN, dict(D=normal(1)), "D is [1]"),
    ("selective_scan_fn", SCAN, dict(z=normal(2, 4, 1)), "z is [2, 4, 1]"),
    ("mamba_inner_fn", INNER, dict(B=normal(4, 3), x_proj_weight=normal(5, 4)), "B is [4, 3]"),
    ("mamba_inner_fn", INNER, dict(x_proj_weight=normal(9, 4)), "x_proj_weight is [9, 4]"),
    ("mamba_inner_fn", INNER, dict(A=INNER["A"] + 0j), "A is complex"),
    ("mamba_inner_fn", INNER, dict(C=normal(2, 3, 7), C_proj_bias=normal(3)), "C_proj_bias is"),
    ("mamba_chunk_scan_combined", SCAN2, dict(seq_idx=BELOW), "seq_idx has -1"),
    ("mamba_chunk_scan_combined", SCAN2, dict(seq_idx=BELOW[0]), "seq_idx is [7]"),
    ("mamba_chunk_scan_combined", SCAN2, dict(return_varlen_states=True), "return_varlen_states"),
    ("mamba_chunk_scan_combined", ONE, dict(cu_seqlens=OFFSETS([0, 7])), "give seq_idx"),
    ("mamba_chunk_scan_combined", ONE, dict(cu_seqlens=OFFSETS([0, 3, 7]),
     seq_idx=torch.zeros(1, 7)), "cu_seqlens is [0, 3, 7]"),
    ("mamba_chunk_scan_combined", SCAN2, dict(B=normal(2, 7, 3, 5), C=normal(2, 7, 3, 5)),
     "G is 3 and H is 4"),
    ("mamba_chunk_scan_combined", SCAN2, dict(x=normal(2, 7, 12)), "x is [2, 7, 12]"),
    ("mamba_chunk_scan_combined", SCAN2, dict(D=normal(4, 1)), "D is [4, 1]"),
    ("mamba_chunk_scan_combined", SCAN2, dict(dt=normal(2, 7, 1)), "dt is [2, 7, 1]"),
    ("mamba_split_conv1d_scan_combined", SPLIT, dict(activation="gelu"), "activation is 'gelu'"),
    ("mamba_split_conv1d_scan_combined", SPLIT, dict(headdim=5), "4 heads of 5"),
    ("mamba_split_conv1d_scan_combined", SPLIT, dict(ngroups=3), "3 groups"),
    ("mamba_split_conv1d_scan_combined", SPLIT, dict(outproj_bias=normal(3)), "outproj_bias"),
    ("selective_state_update", STEP, dict(state_batch_indices=INTS), "state_batch_indices is"),
    ("selective_state_update", STEP, dict(B=normal(2, 1)), "B is [2, 1]"),
    ("selective_state_update", STEP, dict(state=normal(1, 3, 5)), "x is [2, 3]"),
    ("selective_state_update", HEADS, dict(B=normal(2, 3, 5), C=normal(2, 3, 5)),
     "G is 3 and H is 4"),
    ("selective_state_update", HEADS, dict(dt=normal(2, 4, 1)), "dt is [2, 4, 1]"),
    ("causal_conv1d_fn", CONV, dict(activation="gelu"), "activation is 'gelu'"),
    ("causal_conv1d_fn", CONV, dict(seq_idx=BELOW), "seq_idx has -1"),
    ("causal_conv1d_fn", CONV, dict(weight=normal(3, 1, 4)), "weight is [3, 1, 4]"),
    ("causal_conv1d_fn", CONV, dict(initial_states=normal(2, 3, 4)), "is [2, 3, 4]"),
    ("causal_conv1d_fn", CONV, dict(final_states_out=normal(2, 3, 3)), "final_states_out is"),
    ("causal_conv1d_update", PIECE, dict(cache_seqlens=INTS), "cache_seqlens is a tensor [1]"),
    ("causal_conv1d_update", PIECE, dict(conv_state_indices=INTS), "conv_state_indices is"),
    ("causal_conv1d_update", PIECE, dict(conv_state=normal(2, 3, 2)), "conv_state is [2, 3, 2]"),
    ("causal_conv1d_update", PIECE, dict(conv_state=normal(1, 3, 4)), "conv_state is [1, 3, 4]"),
    ("causal_conv1d_update", PIECE, dict(activation="gelu"), "activation is 'gelu'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "right", "wrong", "words"), CASES, ids=[f"{c[0]}: {c[3]}" for c in CASES]
)
def test_a_wrong_argument_is_named_in_one_line(name, right, wrong, words):
    state = right.get("state", right.get("conv_state"))
    before = None if state is None else state.clone()
    with pytest.raises((CallError, ShapeError)) as caught:
        getattr(functional, name)(**right | wrong)
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert words in message
    assert "\n" not in message
    assert state is None or torch.equal(state, before)


@pytest.mark.parametrize(
    ("name", "right"), {c[0]: c[1] for c in CASES}.items(), ids=lambda name: str(name)[:30]
)
def test_the_same_call_without_the_fault_runs(name, right):
    copies = {n: t.clone() if isinstance(t, torch.Tensor) else t for n, t in right.items()}
    getattr(functional, name)(**copies)
