"""flash-linear-attention: the gated delta rule, and Kimi delta attention with a gate per channel.

The chunked and the recurrent functions are one computation here, the mixers `delta` and `kda`. What
their arguments mean stands once, in `chunk_gated_delta_rule`.
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import CallError
from ..mixers.delta import MIXER as delta
from ..mixers.kda import MIXER as kda
from .recurrent import Given, Result, channel_gate, computed, gate
from .refuse import refuse, renamed, unknown
from .steps import fine


def chunk_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    chunk_indices: Tensor | None = None,
    cp_context: object = None,
    **kwargs: Any,
) -> Result:
    """The gated delta rule, as `fla.ops.gated_delta_rule.chunk_gated_delta_rule`.

    Args:
        q, k: [B, T, H, K] queries and keys.
        v: [B, T, HV, V] values; HV / H neighbouring heads share a query and a key.
        g: [B, T, HV] the logarithm of the decay; None is no decay.
        beta: [B, T, HV] how far what is found moves towards v.
        scale: what q is multiplied by, K**-0.5 if None.
        initial_state: [N, HV, K, V], one for each row, or for each packed sequence.
        output_final_state: whether the last states are returned.
        use_qk_l2norm_in_kernel: q and k are divided by their length first.
        use_beta_sigmoid_in_kernel: beta is given before its sigmoid.
        allow_neg_eigval: beta is twice that sigmoid.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: [N + 1] where each of N packed sequences begins and ends; B is 1.
        cu_seqlens_cpu, chunk_indices: not needed, they follow from `cu_seqlens`.
        cp_context: not supported.
        kwargs: `use_gate_in_kernel` with `A_log` [HV] and `dt_bias` [HV]: g is given before
            -exp(A_log) softplus(g + dt_bias); `chunk_size`, which changes nothing.

    Returns:
        [B, T, HV, V] in the dtype of v; the last states in float32, or None.

    Cost: `trilby.delta`; with states for packed sequences one call for each of them.

    >>> from trilby.functional import chunk_gated_delta_rule
    >>> one = torch.ones(1, 3, 1, 1)
    >>> y, state = chunk_gated_delta_rule(one, one, one, None, one[..., 0] / 2)
    >>> y.flatten().tolist(), state
    ([0.5, 0.75, 0.875], None)
    """
    where = "chunk_gated_delta_rule"
    refuse(where, cp_context=cp_context)
    state_v_first = renamed(where, state_v_first, kwargs)
    kwargs.pop("chunk_size", None)
    g = gate(where, g, kwargs)
    unknown(where, kwargs)
    return computed(where, delta, Given.of(locals()))


def fused_recurrent_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    gk: Tensor | None = None,
    gv: Tensor | None = None,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> Result:
    """The gated delta rule, as `fla.ops.gated_delta_rule.fused_recurrent_gated_delta_rule`.

    What is not named here is as of `chunk_gated_delta_rule`.

    Args:
        gk: [B, T, HV, K] logarithms of decays, one for each channel of the keys, beside g.
        gv: decays for each channel of the values; not supported.
        beta: None is 1 everywhere.

    >>> from trilby.functional import fused_recurrent_gated_delta_rule
    >>> one = torch.ones(1, 3, 1, 1)
    >>> fused_recurrent_gated_delta_rule(one, one, 2 * one)[0].flatten().tolist()
    [2.0, 2.0, 2.0]
    """
    where = "fused_recurrent_gated_delta_rule"
    refuse(where, gv=gv)
    state_v_first = renamed(where, state_v_first, kwargs)
    g = gate(where, g, dict(use_gate_in_kernel=use_gate_in_kernel, A_log=A_log, dt_bias=dt_bias))
    unknown(where, kwargs)
    beta = torch.ones_like(v[..., 0]) if beta is None else beta
    if gk is not None:
        g = gk if g is None else fine(gk) + fine(g)[..., None]
    return computed(where, delta if gk is None else kda, Given.of(locals()))


def chunk_kda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    cp_context: object = None,
    use_graph: bool = False,
    max_num_seqs: int | None = None,
    **kwargs: Any,
) -> Result:
    """Kimi delta attention, as `fla.ops.kda.chunk_kda`.

    What is not named here is as of `chunk_gated_delta_rule`.

    Args:
        g: [B, T, HV, K] logarithms of decays, one for each channel of the keys.
        use_gate_in_kernel: g is given before its function, with `A_log` [HV] and `dt_bias`
            [HV * K] or None among the keywords: -exp(A_log) softplus(g + dt_bias), or
            lower_bound sigmoid(exp(A_log) (g + dt_bias)) where a lower bound is given.
        safe_gate, disable_recompute, use_graph, max_num_seqs: how to compute, which changes
            nothing here. `safe_gate` with `use_gate_in_kernel` needs a lower bound.
        return_intermediate_states: not supported.

    >>> from trilby.functional import chunk_kda
    >>> one = torch.ones(1, 2, 1, 1)
    >>> y, state = chunk_kda(one, one, one, 0 * one, one[..., 0] / 2, output_final_state=True)
    >>> y.flatten().tolist(), state.item()
    ([0.5, 0.75], 0.75)
    """
    where = "chunk_kda"
    refuse(where, return_intermediate_states=return_intermediate_states, cp_context=cp_context)
    kwargs = {n: x for n, x in kwargs.items() if n not in ("chunk_size", "chunk_indices")}
    state_v_first = renamed(where, state_v_first, kwargs)
    if safe_gate and use_gate_in_kernel and lower_bound is None:
        raise CallError(f"{where}: safe_gate with use_gate_in_kernel needs lower_bound, as -5.0")
    kwargs["use_gate_in_kernel"] = use_gate_in_kernel
    g = channel_gate(where, g, lower_bound, kwargs)
    unknown(where, kwargs)
    return computed(where, kda, Given.of(locals()))


def fused_recurrent_kda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    lower_bound: float | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> Result:
    """Kimi delta attention, as `fla.ops.kda.fused_recurrent_kda`; arguments as of `chunk_kda`.

    >>> from trilby.functional import fused_recurrent_kda
    >>> one = torch.ones(1, 2, 1, 1)
    >>> fused_recurrent_kda(one, one, one, 0 * one, one[..., 0] / 2)[0].flatten().tolist()
    [0.5, 0.75]
    """
    where = "fused_recurrent_kda"
    state_v_first = renamed(where, state_v_first, kwargs)
    unknown(where, kwargs)
    raw = dict(use_gate_in_kernel=use_gate_in_kernel, A_log=A_log, dt_bias=dt_bias)
    g = channel_gate(where, g, lower_bound, raw)
    return computed(where, kda, Given.of(locals()))
