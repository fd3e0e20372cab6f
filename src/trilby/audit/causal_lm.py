"""A causal language model of transformers behind one signature, whatever its release calls things."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CARRIES = ("cache", "past_key_values", "cache_params", "state", "mems", "past_buckets_states")
"""What a release or a type calls that which it goes on from; the first one found is used."""


@dataclass
class Went:
    """What a call returns: logits [B, T, vocabulary], and what the next call goes on from: the
    library's own object, and the number of positions behind it."""

    logits: Tensor
    past_key_values: tuple[Any, int] | None = None


class CausalLM(nn.Module):
    """Calls a model as its own `generate` does.

    With a mask, `position_ids` count the real positions of each row, where the model takes them
    and counts from zero by itself. One that counts otherwise reads its positions off the tokens
    that are not padding, so it is given padding where the mask says so. What it goes on from is handed on under the name that it has.

    Args:
        model: of transformers.
        counts: whether `position_ids` that start at 0 are what the model takes by default.

    Attributes:
        carry: what the model calls that which it goes on from; None where it keeps nothing.
        start: makes an empty one, for a model that returns none unless it is given one.
    """

    def __init__(self, model: nn.Module, counts: bool = True) -> None:
        super().__init__()
        self.model = model
        takes = inspect.signature(model.forward).parameters
        self.carry = next((name for name in CARRIES if name in takes), None)
        loose = any(p.kind is p.VAR_KEYWORD for p in takes.values())
        self.takes = frozenset([*takes, "use_cache"] if loose and self.carry != "mems" else takes)
        self.pad = getattr(model.config, "pad_token_id", None) or 0
        self.counts = counts and "position_ids" in takes
        self.start: Callable[[], Any] | None = None

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: tuple[Any, int] | None = None,
        use_cache: bool = False,
    ) -> Went:
        """Logits [B, T, vocabulary] of tokens [B, T]; the mask also covers what went before."""
        given: dict[str, Any] = {"input_ids": input_ids}
        if "use_cache" in self.takes:
            given["use_cache"] = use_cache
        if position_ids is not None and attention_mask is not None and bool(attention_mask.all()):
            attention_mask = None  # documents are looked for only where there is no mask
        if attention_mask is not None:
            real = attention_mask.long()
            given["attention_mask"] = real
            recent = real[:, -input_ids.shape[1] :]
            if self.counts and position_ids is None:
                position_ids = (real.cumsum(1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
            elif "position_ids" in self.takes and not self.counts:
                given["input_ids"] = input_ids.where(recent == 1, self.pad)
        if position_ids is not None:
            given["position_ids"] = position_ids
        past, at = past_key_values or (self.start() if self.start and use_cache else None, 0)
        if past is not None and self.carry:
            given[self.carry] = past
        if use_cache and "cache_position" in self.takes:  # older releases want to be told
            given["cache_position"] = torch.arange(at, at + input_ids.shape[1])
        went = self.model(**given)
        past = getattr(went, self.carry, None) if self.carry else None
        if past is None:
            past = given.get(self.carry or "")
        return Went(went.logits, None if past is None else (past, at + input_ids.shape[1]))
