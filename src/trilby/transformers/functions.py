"""trilby's functions with the signatures and the semantics of transformers' references.

The decorator hands every argument on, so each function takes what it does not need as `**kwargs`,
as the references do; packed sequences come as `cu_seqlens`, `seq_idx` or `cu_seq_lens_q` there.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..functional import mamba2, update
from ..functional import packed as packing
from ..functional.mamba import scanned
from ..functional.recurrent import Given, Result, computed
from ..mixers.conv import MIXER as conv
from ..mixers.delta import MIXER as delta
from ..mixers.kda import MIXER as kda
from .handed import handed

BORDERS = ("cu_seqlens", "cu_seq_lens_q")  # names of [N + 1]; `seq_idx` is [B, T]


def documents_of(where: str, given: dict[str, Any], B: int, T: int) -> Tensor | None:
    """Documents [B, T] of packed sequences; positions in front of them belong to the first."""
    index = given.get("seq_idx")
    borders = next((given[name] for name in BORDERS if given.get(name) is not None), None)
    if index is not None:
        found = packing.of_index(where, index, B, index.shape[1])
    elif borders is not None and B == 1:
        found = packing.of_lengths(where, borders, int(borders[-1]))
    else:
        return None
    ahead = T - found.shape[1]
    return torch.cat([found[:, :1].expand(-1, ahead), found], 1) if ahead > 0 else found


def causal_conv1d_fn(
    hidden_states: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    **kwargs: Any,
) -> Tensor:
    """[B, D, T] -> the same; weight [D, W]."""
    B, _, T = hidden_states.shape
    documents = documents_of("causal_conv1d_fn", kwargs, B, T)
    return _convolved(hidden_states, weight, bias, activation, None, documents)


def causal_conv1d_update(
    hidden_states: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    **kwargs: Any,
) -> Tensor:
    """[B, D, T] after a state [B, D, S] of the last inputs, which is moved on in place."""
    few = weight.shape[-1] - 1
    past = conv_state[..., conv_state.shape[-1] - few :].mT.to(hidden_states.dtype)
    y = _convolved(hidden_states, weight, bias, activation, past, None)
    both = torch.cat([conv_state, hidden_states.to(conv_state.dtype)], -1)
    conv_state.copy_(both[..., -conv_state.shape[-1] :])
    return y


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str | None,
    past: Tensor | None,
    documents: Tensor | None,
) -> Tensor:
    silu = activation in ("silu", "swish")
    wide = torch.promote_types(x.dtype, weight.dtype)
    lift = None if bias is None else bias.to(wide)
    y, _ = conv(x.to(wide).mT, weight.to(wide), lift, past if past is None else past.to(wide),
                documents, silu=silu)  # fmt: skip
    if activation is not None and not silu:
        from transformers.activations import ACT2FN

        y = ACT2FN[activation](y)
    return y.to(x.dtype).mT


def chunk_gated_delta_rule(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    g: Tensor,
    beta: Tensor,
    chunk_size: int = 64,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    **kwargs: Any,
) -> Result:
    """[B, T, H, K], [B, T, HV, V] and gates [B, T, HV] -> [B, T, HV, V] and a state."""
    given = (query, key, value, g, beta, initial_state)
    return _rule(
        "chunk_gated_delta_rule", given, output_final_state, use_qk_l2norm_in_kernel, kwargs
    )


def fused_recurrent_gated_delta_rule(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    g: Tensor,
    beta: Tensor,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    **kwargs: Any,
) -> Result:
    """The same function."""
    given = (query, key, value, g, beta, initial_state)
    return _rule(
        "fused_recurrent_gated_delta_rule",
        given,
        output_final_state,
        use_qk_l2norm_in_kernel,
        kwargs,
    )


def chunk_kda(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    g: Tensor,
    beta: Tensor,
    chunk_size: int = 64,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    **kwargs: Any,
) -> Result:
    """With gates [B, T, H, K]."""
    given = (query, key, value, g, beta, initial_state)
    return _rule("chunk_kda", given, output_final_state, use_qk_l2norm_in_kernel, kwargs)


def fused_recurrent_kda(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    g: Tensor,
    beta: Tensor,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    **kwargs: Any,
) -> Result:
    """The same function."""
    given = (query, key, value, g, beta, initial_state)
    return _rule("fused_recurrent_kda", given, output_final_state, use_qk_l2norm_in_kernel, kwargs)


def _rule(
    where: str, given: tuple[Any, ...], wanted: bool, normalised: bool, kwargs: dict[str, Any]
) -> Result:
    q, k, v, g, beta, state = given
    documents = documents_of(where, kwargs, *v.shape[:2])
    mixer = kda if "kda" in where else delta
    whole = Given(
        q, k, v, g, beta, None, state, wanted, normalised, False, False, False, None, documents
    )
    return computed(where, mixer, whole)


def selective_scan_fn(
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    **kwargs: Any,
) -> Tensor | tuple[Tensor, Tensor]:
    """[B, D, T] with B and C [B, N, T]; it goes on from the state that the layer's cache holds."""
    state, more = handed()
    where = "selective_scan_fn"
    documents = documents_of(where, more | kwargs, hidden_states.shape[0], hidden_states.shape[2])
    state = None if state is None else state.to(torch.promote_types(state.dtype, torch.float32))
    step = (delta_bias, delta_softplus)
    return scanned(hidden_states, dt, A, B, C, D, z, step, state, documents, return_last_state)


def mamba_chunk_scan_combined(
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = mamba2.LIMIT,
    return_final_states: bool = False,
    z: Tensor | None = None,
    **kwargs: Any,
) -> Tensor | tuple[Tensor, ...]:
    """[B, T, H, P] with B and C [B, T, G, N]; float32 for halves, as the reference returns it."""
    rows, T = hidden_states.shape[:2]
    index = documents_of("mamba_chunk_scan_combined", kwargs, rows, T)
    wide = hidden_states.to(torch.promote_types(hidden_states.dtype, torch.float32))
    return mamba2.mamba_chunk_scan_combined(
        wide, dt, A, B, C, chunk_size, D, z, dt_bias, initial_states, index, None, dt_softplus,
        dt_limit, return_final_states,
    )  # fmt: skip


def selective_state_update(
    state: Tensor,
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    z: Tensor | None = None,
    **kwargs: Any,
) -> Tensor:
    """One position; the state is moved on in place."""
    return update.selective_state_update(
        state, hidden_states, dt, A, B, C, D, z, dt_bias, dt_softplus
    )


OURS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        causal_conv1d_fn, causal_conv1d_update, chunk_gated_delta_rule,
        fused_recurrent_gated_delta_rule, chunk_kda, fused_recurrent_kda, selective_scan_fn,
        mamba_chunk_scan_combined, selective_state_update,
    )
}  # fmt: skip
"""What is put in place of transformers' functions, by the names of its decorator."""

WHOLE = "the layer computes it in parts, which are trilby's"
LEFT = {"mamba_inner_fn": WHOLE, "mamba_split_conv1d_scan_combined": WHOLE}
"""What stays, and why. These two return None in transformers, and the layer goes on in parts."""
