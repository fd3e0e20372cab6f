"""The adapter for x-transformers: one decoder, with one option at a time."""

import importlib
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from ..streaming import by_past
from ..verify.precision.widened import widened
from .adapter import Built, NoLibrary, Probe, redraw, tokens
from .probes import attention

DRAWN, LENGTH = 64, 128
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "alibi": dict(alibi_pos_bias=True),
    "dynamic_bias": dict(dynamic_pos_bias=True),
    "gated_residual": dict(gate_residual=True),
    "grouped_heads": dict(attn_kv_heads=2),
    "hyper_connections": dict(num_residual_streams=2),
    "macaron": dict(macaron=True),
    "one_key_head": dict(attn_one_kv_head=True),
    "polar": dict(polar_pos_emb=True),
    "qk_norm": dict(attn_qk_norm=True),
    "relative_bias": dict(rel_pos_bias=True),
    "residual_attention": dict(residual_attn=True),
    "rotary": dict(rotary_pos_emb=True),
    "rotary_xpos": dict(rotary_xpos=True),
    "sandwich": dict(sandwich_norm=True),
    "shift_tokens": dict(shift_tokens=1),
    "sparse_topk": dict(attn_sparse_topk=3),
    "talking_heads": dict(attn_pre_talking_heads=True),
    "value_residual": dict(add_value_residual=True),
}
"""Name -> keywords of the decoder."""


class Decoder(nn.Module):
    """A decoder with the signature that the probes use."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> "Went":
        """Logits [B, T, vocabulary] of tokens [B, T]; a cache takes one position at a time."""
        how: dict[str, Any] = {"return_intermediates": True}
        if attention_mask is not None:
            mask = attention_mask.bool()
            how |= dict(mask=mask, seq_start_pos=mask.long().argmax(1))
        past, parts = past_key_values, []
        for piece in input_ids.split(1 if past else input_ids.shape[1], 1):
            with widened(self.model):
                logits, past = self.model(piece, cache=past, input_not_include_cache=True, **how)
            parts.append(logits)
        return Went((torch.cat(parts, 1), past if use_cache else None))


class Went(tuple[Tensor, Any]):
    """The result of a call: the logits, and the cache for the next call."""

    @property
    def logits(self) -> Tensor:
        """The logits of the call."""
        return self[0]

    @property
    def past_key_values(self) -> Any:
        """The cache for the next call."""
        return self[1]


class XTransformers:
    """A decoder with two layers, with each option of `OPTIONS` in turn."""

    name = "x-transformers"
    preload: Sequence[str] = ("torch", "x_transformers")

    def version(self) -> str:
        _library()
        return version("x-transformers")

    def kinds(self) -> list[str]:
        return list(OPTIONS)

    def build(self, kind: str, dtype: torch.dtype) -> Built:
        module = _made(kind, dtype, False)
        example = tokens(DRAWN)
        with torch.no_grad():
            module(**example(1, 3, 0))  # raises if the option does not support the dtype
        how: dict[str, Any] = {"vocabulary": DRAWN, "padding": "attention_mask"}
        if module.model.can_cache_kv:
            how["carry"] = by_past()
        facts = {
            "class": f"Decoder({', '.join(OPTIONS[kind])})",
            "parameters": sum(weight.numel() for weight in module.parameters()),
            "layers": 2,
        }
        ways = {
            "eager": partial(_made, kind, dtype, False),
            "flash": partial(_made, kind, dtype, True),
        }
        return Built(kind, module, example, how, facts, ways=ways)

    def probes(self) -> Iterator[Probe]:
        yield "attention", attention


def _made(kind: str, dtype: torch.dtype, flash: bool) -> Decoder:
    library = _library()
    torch.manual_seed(0)
    layers = library.Decoder(
        dim=32, depth=2, heads=4, attn_dim_head=8, attn_flash=flash, verbose=False, **OPTIONS[kind]
    )
    model = library.TransformerWrapper(num_tokens=DRAWN, max_seq_len=LENGTH, attn_layers=layers)
    redraw(model)
    return Decoder(model).to(dtype).eval()


def _library() -> Any:
    try:
        return importlib.import_module("x_transformers")
    except ImportError as missing:
        raise NoLibrary(
            f"audit: x-transformers cannot be imported ({missing}); pip install x-transformers"
        ) from missing


ADAPTER = XTransformers()
