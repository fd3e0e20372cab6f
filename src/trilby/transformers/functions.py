"""trilby's functions with the signatures and the semantics of transformers' references.

The decorator hands every argument on, so each function takes what it does not need as `**kwargs`,
as the references do; packed sequences come as `cu_seqlens`, `seq_idx` or `cu_seq_lens_q` there.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..card import Mixer
from ..functional import convolution, mamba2, update
from ..functional import packed as packing
from ..functional.mamba import Scan, scanned
from ..functional.recurrent import Given, Result, computed, moved
from ..functional.steps import LIMIT, fine
from ..mixers.delta import MIXER as delta
from ..mixers.kda import MIXER as kda
from ..state import wide
from .passing import known

BORDERS = ("cu_seqlens", "cu_seq_lens_q")  # names of [N + 1]; `seq_idx` is [B, T]


def documents_of(where: str, given: dict[str, Any], B: int, T: int) -> Tensor | None:
    """Documents [B, T] of packed sequences; positions in front of them belong to the first."""
    given = known().packing | {name: t for name, t in given.items() if t is not None}
    index = given.get("seq_idx")
    borders = next((given[name] for name in BORDERS if given.get(name) is not None), None)
    if index is not None:
        one = index.expand(B, -1) if index.shape[0] == 1 else index  # positions of all rows
        found = packing.of_index(where, one, B, index.shape[1])
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
    silu, rest = _activation(activation)
    y = convolution.causal_conv1d_fn(hidden_states, weight, bias, documents, activation=silu)
    return rest(y)


def causal_conv1d_update(
    hidden_states: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    **kwargs: Any,
) -> Tensor:
    """[B, D, T] after a state [B, D, S] of the last inputs, which is moved on in place."""
    silu, rest = _activation(activation)
    return rest(convolution.causal_conv1d_update(hidden_states, conv_state, weight, bias, silu))


def _activation(name: str | None) -> tuple[str | None, Callable[..., Tensor]]:
    """What the convolution does itself, and what follows it: transformers know other functions."""
    if name is None or name in convolution.SILU:
        return name, lambda y: y
    from transformers.activations import ACT2FN

    return None, ACT2FN[name]


def _chunked(name: str, mixer: Mixer[Any, Any]) -> Callable[..., Result]:
    """[B, T, H, K], [B, T, HV, V] and gates [B, T, HV], or [B, T, HV, K] -> y and a state."""

    def chunked(
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
        documents = documents_of(name, kwargs, *value.shape[:2])
        given = Given(
            query, key, value, g, beta, None, initial_state, output_final_state,
            use_qk_l2norm_in_kernel, documents=documents,
        )  # fmt: skip
        return computed(name, mixer, given)

    return chunked


def _recurrent(name: str, mixer: Mixer[Any, Any]) -> Callable[..., Result]:
    """The same, with the signature of one position after the other.

    A layer hands over the state of its cache and then copies into it what it gets. Without
    gradients it is written where it stands, which spares both.
    """
    chunked = _chunked(name, mixer)

    def recurrent(
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
        streams = initial_state is not None and output_final_state and not torch.is_grad_enabled()
        if streams and documents_of(name, kwargs, *value.shape[:2]) is None:
            sequences, how = (query, key, value, g, beta), (True, use_qk_l2norm_in_kernel)
            return moved(name, mixer, Given(*sequences, None, initial_state, *how)), initial_state
        given = (query, key, value, g, beta, 1, initial_state, output_final_state)
        return chunked(*given, use_qk_l2norm_in_kernel, **kwargs)

    return recurrent


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
    """[B, D, T] with B and C [B, N, T]; it continues from the state that the cache holds."""
    where, state = "selective_scan_fn", known().state()
    documents = documents_of(where, kwargs, hidden_states.shape[0], hidden_states.shape[2])
    if state is not None:
        state = state.to(wide(hidden_states.dtype))
    step = (delta_bias, delta_softplus)
    y, last = scanned(where, Scan(hidden_states, dt, A, B, C, D, z, step, state, documents))
    return (y, last) if return_last_state else y


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
    dt_limit: tuple[float, float] = LIMIT,
    return_final_states: bool = False,
    z: Tensor | None = None,
    **kwargs: Any,
) -> Tensor | tuple[Tensor, ...]:
    """[B, T, H, P] with B and C [B, T, G, N]; float32 for halves, as the reference returns it."""
    rows, T = hidden_states.shape[:2]
    index = documents_of("mamba_chunk_scan_combined", kwargs, rows, T)
    return mamba2.mamba_chunk_scan_combined(
        fine(hidden_states), dt, A, B, C, chunk_size, D, z, dt_bias, initial_states, index, None,
        dt_softplus, dt_limit, return_final_states,
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
    step = dt_bias, dt_softplus, known().limit
    return update.moved("selective_state_update", state, (hidden_states, dt, A, B, C), (D, z), step)


def in_parts(*args: Any, **kwargs: Any) -> None:
    """A whole layer in one call: returns None, and the layer then calls its parts one by one.

    The references raise where sequences are packed; the parts keep them apart.
    """


OURS: dict[str, Callable[..., Any]] = {
    "causal_conv1d_fn": causal_conv1d_fn,
    "causal_conv1d_update": causal_conv1d_update,
    "chunk_gated_delta_rule": _chunked("chunk_gated_delta_rule", delta),
    "fused_recurrent_gated_delta_rule": _recurrent("fused_recurrent_gated_delta_rule", delta),
    "chunk_kda": _chunked("chunk_kda", kda),
    "fused_recurrent_kda": _recurrent("fused_recurrent_kda", kda),
    "selective_scan_fn": selective_scan_fn,
    "mamba_chunk_scan_combined": mamba_chunk_scan_combined,
    "selective_state_update": selective_state_update,
    "mamba_inner_fn": in_parts,
    "mamba_split_conv1d_scan_combined": in_parts,
}
"""What is put in place of transformers' functions, by the names of its decorator."""
