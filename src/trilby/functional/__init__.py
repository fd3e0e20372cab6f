"""The functions of flash-linear-attention, mamba-ssm and causal-conv1d, under their own names.

Each has the signature of its package (flash-linear-attention 0.6, mamba-ssm 2.3, causal-conv1d 1.7)
and returns what it returns, computed by the mixers of trilby: on a CPU, trainable, for packed
sequences too. What cannot be honoured raises an error; nothing is ignored, but for what says only
how fast or in which pieces to compute (`chunk_size`, `chunk_indices`, `cu_seqlens_cpu`).
"""

from .convolution import causal_conv1d_fn, causal_conv1d_update
from .delta_rule import (
    chunk_gated_delta_rule,
    chunk_kda,
    fused_recurrent_gated_delta_rule,
    fused_recurrent_kda,
)
from .mamba import mamba_inner_fn, selective_scan_fn
from .mamba2 import mamba_chunk_scan_combined, mamba_split_conv1d_scan_combined
from .update import selective_state_update

__all__ = [
    "causal_conv1d_fn",
    "causal_conv1d_update",
    "chunk_gated_delta_rule",
    "chunk_kda",
    "fused_recurrent_gated_delta_rule",
    "fused_recurrent_kda",
    "mamba_chunk_scan_combined",
    "mamba_inner_fn",
    "mamba_split_conv1d_scan_combined",
    "selective_scan_fn",
    "selective_state_update",
]
