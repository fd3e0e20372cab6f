"""One signature for every causal language model of transformers, in every release."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..verify.precision.widened import widened

CARRIES = ("cache", "past_key_values", "cache_params", "state", "mems", "past_buckets_states")
"""The names of the cache argument in releases and types; the first one found is used."""


@dataclass
class Went:
    """The result of a call: logits [B, T, vocabulary], and the past for the next call: the cache
    object of the library, and the tokens [B, t] so far."""

    logits: Tensor
    past_key_values: tuple[Any, Tensor] | None = None


class CausalLM(nn.Module):
    """Calls a model as its own `generate` does; for models whose positions count from 0.

    With a mask, `position_ids` count the real positions of each row. The cache is passed under the
    name that the model uses.

    Args:
        model: a model of transformers.

    Attributes:
        carry: the name of the model's cache argument; None if it has no cache.
        start: makes an empty cache, for a model that returns one only if it is given one.
        whole: whether a call with a cache is passed all tokens from the first one on; the model
            skips those that are in its cache.
        takes: the parameter names of its forward.
    """

    counts = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        takes = inspect.signature(model.forward).parameters
        self.carry = next((name for name in CARRIES if name in takes), None)
        loose = any(p.kind is p.VAR_KEYWORD for p in takes.values())
        self.takes = frozenset([*takes, "use_cache"] if loose and self.carry != "mems" else takes)
        self.start: Callable[[], Any] | None = None
        self.whole = False

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: tuple[Any, Tensor] | None = None,
        use_cache: bool = False,
    ) -> Went:
        """Logits [B, T, vocabulary] of tokens [B, T]; the mask covers the past too."""
        given: dict[str, Any] = {"input_ids": input_ids}
        if attention_mask is not None:
            real = attention_mask.long()
            given["attention_mask"] = real
            if position_ids is None:
                position_ids = (real.cumsum(1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
        if position_ids is not None:
            given["position_ids"] = position_ids
        return self.went(given, past_key_values, use_cache)

    def went(self, given: dict[str, Any], past_key_values: Any, use_cache: bool) -> Went:
        """Call the model with a past, under the parameter names that it has."""
        fresh = given["input_ids"]
        if "use_cache" in self.takes:
            given["use_cache"] = use_cache
        past, behind = past_key_values or (None, fresh[:, :0])
        if past is None and self.start and use_cache:
            past = self.start()
        if past is not None and self.carry:
            given[self.carry] = past
        tokens, at = torch.cat([behind, fresh], 1), behind.shape[1]
        if use_cache and "cache_position" in self.takes:  # older releases need it
            given["cache_position"] = torch.arange(at, tokens.shape[1])
        if self.whole and at:
            given["input_ids"] = tokens
            given.pop("position_ids", None)
        with widened(self.model):
            went = self.model(**given)
        past = getattr(went, self.carry, None) if self.carry else None
        if past is None:
            past = given.get(self.carry or "")
        return Went(went.logits, None if past is None else (past, tokens))


class Uncounted(CausalLM):
    """A model that gets no positions: it takes none, or derives them from the tokens.

    A model that derives its positions counts the tokens that are not padding, so the tokens are set
    to padding where the mask is 0.
    """

    counts = False

    def forward(  # type: ignore[override]  # it has no position_ids
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: tuple[Any, Tensor] | None = None,
        use_cache: bool = False,
    ) -> Went:
        """Logits [B, T, vocabulary] of tokens [B, T]; the mask covers the past too."""
        given: dict[str, Any] = {"input_ids": input_ids}
        if attention_mask is not None:
            given["attention_mask"] = real = attention_mask.long()
            if "position_ids" in self.takes:
                pad = getattr(self.model.config, "pad_token_id", None) or 0
                given["input_ids"] = input_ids.where(real[:, -input_ids.shape[1] :] == 1, pad)
        return self.went(given, past_key_values, use_cache)
