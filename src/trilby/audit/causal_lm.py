"""A causal language model of transformers behind one signature, whatever its release calls it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..verify.precision.widened import widened

CARRIES = ("cache", "past_key_values", "cache_params", "state", "mems", "past_buckets_states")
"""What a release or a type calls that which it goes on from; the first one found is used."""


@dataclass
class Went:
    """What a call returns: logits [B, T, vocabulary], and what the next call goes on from: the
    library's own object, and the tokens [B, t] behind it."""

    logits: Tensor
    past_key_values: tuple[Any, Tensor] | None = None


class CausalLM(nn.Module):
    """Calls a model as its own `generate` does; for one whose positions count from 0.

    With a mask, `position_ids` count the real positions of each row. What the model goes on from
    is handed on under the name that it has.

    Args:
        model: of transformers.

    Attributes:
        carry: what the model calls that which it goes on from; None where it keeps nothing.
        start: makes an empty one, for a model that returns none unless it is given one.
        whole: whether a call that goes on is handed the tokens behind it once more, and their
            positions; the model leaves out those that it has.
        takes: the names that its forward takes.
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
        """Logits [B, T, vocabulary] of tokens [B, T]; the mask also covers what went before."""
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
        """Call the model, going on from a past, under the names that it knows."""
        fresh = given["input_ids"]
        if "use_cache" in self.takes:
            given["use_cache"] = use_cache
        past, behind = past_key_values or (None, fresh[:, :0])
        if past is None and self.start and use_cache:
            past = self.start()
        if past is not None and self.carry:
            given[self.carry] = past
        tokens, at = torch.cat([behind, fresh], 1), behind.shape[1]
        if use_cache and "cache_position" in self.takes:  # older releases want to be told
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
    """A model that is told no positions: it takes none, or counts them off the tokens itself.

    One that could be told reads its positions off the tokens that are not padding, so it is given
    padding where the mask says so.
    """

    counts = False

    def forward(  # type: ignore[override]  # it takes no position_ids, and says so
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: tuple[Any, Tensor] | None = None,
        use_cache: bool = False,
    ) -> Went:
        """Logits [B, T, vocabulary] of tokens [B, T]; the mask also covers what went before."""
        given: dict[str, Any] = {"input_ids": input_ids}
        if attention_mask is not None:
            given["attention_mask"] = real = attention_mask.long()
            if "position_ids" in self.takes:
                pad = getattr(self.model.config, "pad_token_id", None) or 0
                given["input_ids"] = input_ids.where(real[:, -input_ids.shape[1] :] == 1, pad)
        return self.went(given, past_key_values, use_cache)
