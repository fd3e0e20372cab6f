"""The names, the order and the defaults of every argument are those of the packages.

They were read in fla-core 0.6.0, mamba-ssm 2.3.0 and causal-conv1d 1.7.0.
"""

import inspect

import pytest

from trilby import functional

RULE = "scale=None initial_state=None output_final_state=False use_qk_l2norm_in_kernel=False"
INSIDE = "use_beta_sigmoid_in_kernel=False allow_neg_eigval=False"
PACKED = "state_v_first=False cu_seqlens=None"
EXPECTED = {
    "causal_conv1d_fn": (
        "x weight bias=None seq_idx=None initial_states=None return_final_states=False "
        "final_states_out=None activation=None"
    ),
    "causal_conv1d_update": (
        "x conv_state weight bias=None activation=None cache_seqlens=None conv_state_indices=None"
    ),
    "chunk_gated_delta_rule": (
        f"q k v g beta {RULE} {INSIDE} {PACKED} cu_seqlens_cpu=None chunk_indices=None "
        "cp_context=None **kwargs"
    ),
    "chunk_kda": (
        f"q k v g beta {RULE} use_gate_in_kernel=False {INSIDE} safe_gate=False lower_bound=None "
        f"disable_recompute=False return_intermediate_states=False {PACKED} cu_seqlens_cpu=None "
        "cp_context=None use_graph=False max_num_seqs=None **kwargs"
    ),
    "fused_recurrent_gated_delta_rule": (
        f"q k v g=None gk=None gv=None beta=None {RULE} use_gate_in_kernel=False A_log=None "
        f"dt_bias=None {INSIDE} {PACKED} **kwargs"
    ),
    "fused_recurrent_kda": (
        f"q k v g beta A_log=None dt_bias=None {RULE} use_gate_in_kernel=False {INSIDE} "
        f"lower_bound=None {PACKED} **kwargs"
    ),
    "mamba_chunk_scan_combined": (
        "x dt A B C chunk_size D=None z=None dt_bias=None initial_states=None seq_idx=None "
        "cu_seqlens=None dt_softplus=False dt_limit=(0.0,inf) return_final_states=False "
        "return_varlen_states=False"
    ),
    "mamba_inner_fn": (
        "xz conv1d_weight conv1d_bias x_proj_weight delta_proj_weight out_proj_weight "
        "out_proj_bias A B=None C=None D=None delta_bias=None B_proj_bias=None C_proj_bias=None "
        "delta_softplus=True checkpoint_lvl=1 b_rms_weight=None c_rms_weight=None "
        "dt_rms_weight=None b_c_dt_rms_eps=1e-06"
    ),
    "mamba_split_conv1d_scan_combined": (
        "zxbcdt conv1d_weight conv1d_bias dt_bias A D chunk_size initial_states=None "
        "seq_idx=None dt_limit=(0.0,inf) return_final_states=False activation='silu' "
        "rmsnorm_weight=None rmsnorm_eps=1e-06 outproj_weight=None outproj_bias=None "
        "headdim=None ngroups=1 norm_before_gate=True"
    ),
    "selective_scan_fn": (
        "u delta A B C D=None z=None delta_bias=None delta_softplus=False return_last_state=False"
    ),
    "selective_state_update": (
        "state x dt A B C D=None z=None dt_bias=None dt_softplus=False state_batch_indices=None"
    ),
}


def written(parameter):
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    if parameter.default is parameter.empty:
        return parameter.name
    return f"{parameter.name}={parameter.default!r}".replace(", ", ",")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_signature_is_that_of_its_package(name):
    parameters = inspect.signature(getattr(functional, name)).parameters.values()
    assert " ".join(map(written, parameters)) == EXPECTED[name]


def test_every_function_is_here():
    assert sorted(functional.__all__) == sorted(EXPECTED)
