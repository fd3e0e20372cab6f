"""Accelerated models inside `trilby.sharded`, where each rank has a piece of time.

The convolutions, recurrences and attention of a layer take the form `shard`, and all else in it is
computed position by position. What would be wrong on a piece is refused when the model is called.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from ..comm.ranks import Ranks
from ..errors import CallError
from ..mixers.attention import MIXER
from ..sharding import current
from .packed import CACHES, of_call

TYPES = ("mamba2", "qwen3_5_text", "qwen3_next")
"""The types of models of which a test compares ranks with one process."""

NAME = "trilby"
"""What `attn_implementation` has to be."""


def entering(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Check a call of a whole model; what else it has to be given: positions of the whole row.

    Raises:
        CallError: what the model does in this call is not sharded over time.
    """
    config: Any = getattr(module, "config", None)
    kind = type(module).__name__
    where = f"{kind} inside of trilby.sharded"
    if getattr(config, "model_type", None) not in TYPES:
        raise CallError(
            f"{where}: its type is {getattr(config, 'model_type', 'unknown')}, and only "
            f"{', '.join(TYPES)} are sharded over time; call one of these, as a whole"
        )
    attention = "full_attention" in (getattr(config, "layer_types", None) or ())
    if attention and config._attn_implementation != NAME:
        raise CallError(
            f"{where}: its attention is {config._attn_implementation!r}, which sees one piece "
            f"alone; call model.set_attn_implementation({NAME!r})"
        )
    takes = inspect.signature(module.forward)
    given = {**takes.bind_partial(*args).arguments, **kwargs}
    _refused(where, given, config)
    more: dict[str, Any] = {}
    if given.get("attention_mask") is not None:  # all ones
        more["attention_mask"] = None
    inputs = given["input_ids" if given.get("input_ids") is not None else "inputs_embeds"]
    positions = _positions(where, inputs)
    if "position_ids" in takes.parameters and given.get("position_ids") is None:
        more["position_ids"] = positions
    return more


def _refused(where: str, given: dict[str, Any], config: Any) -> None:
    """Raise a CallError for what one call on several ranks cannot have."""
    mask = given.get("attention_mask")
    cached = given.get("use_cache")
    cached = getattr(config, "use_cache", False) if cached is None else cached
    reasons = {
        "the call has a cache, which is of one piece; pass use_cache=False": bool(cached)
        or any(given.get(name) is not None for name in CACHES),
        "attention_mask has padding, which only one process keeps apart; leave it out": mask
        is not None
        and not (isinstance(mask, Tensor) and bool((mask == 1).all())),
        "labels is given, and the last position of a piece has its label on the next rank; "
        "compute the loss from the logits and each rank's own targets": given.get("labels")
        is not None,
        "sequences are packed, which is not numbered over the ranks; give one for each row": bool(
            of_call(given)
        ),
    }
    for why, there in reasons.items():
        if there:
            raise CallError(f"{where}: {why}")


def _positions(where: str, inputs: Tensor) -> Tensor:
    """[1, T] positions of this rank's piece in the whole row.

    Raises:
        CallError: on every rank, if one has none: models look at their first or last position.
    """
    ranks, T = Ranks(where), inputs.shape[1]
    lengths = ranks.gathered(torch.tensor([T], device=inputs.device))[:, 0].tolist()
    if 0 in lengths:
        raise CallError(
            f"{where}: rank {lengths.index(0)} has no positions; give each rank one or more"
        )
    start = sum(lengths[: ranks.rank])
    return torch.arange(start, start + T, device=inputs.device)[None]


def attention(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, more: dict[str, Any]
) -> Tensor:
    """Causal attention over all pieces: [B, H, T, K], [B, G, T, K], [B, G, T, V] -> [B, T, H, V].

    Args:
        query, key, value: of this piece.
        scaling: of the scores; None is 1 / sqrt(K).
        more: `sliding_window`, `softcap` and `s_aux`, as models pass them.
    """
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    how: dict[str, Any] = dict(
        window=more.get("sliding_window"), cap=more.get("softcap"), sinks=more.get("s_aux")
    )
    how |= dict(scale=scaling, slots=0)  # no call continues from the keys of this one
    return MIXER.shard(q, k, v, **how)[0]


def inside() -> bool:
    """Whether a `trilby.sharded` is open."""
    return current() is not None
