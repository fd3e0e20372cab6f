"""`attn_implementation="trilby"`: attention of transformers' models by the kernels of trilby.

One query against a cache goes to our kernel, which reads keys and values of grouped heads once. A
pass of several queries goes to torch's `scaled_dot_product_attention`, as with "sdpa". Where a
model has a cap or sinks, which torch's function lacks, a pass is computed in blocks of ours.
"""

import sys
from typing import Any

import torch
from torch import Tensor

from ..errors import CallError
from ..kernels import ops
from . import overtime, passing
from .overtime import NAME


def register() -> None:
    """Make the name known to transformers, where it is installed; done twice it is as done once."""
    try:
        from transformers import AttentionInterface, AttentionMaskInterface
    except ImportError:  # no transformers, or one without these
        return
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)


def mask(*sizes: Any, config: Any = None, **how: Any) -> Tensor | None:
    """A mask function of transformers: that of "sdpa", for models that call attention functions.

    Raises:
        CallError: the model's own attention does not ask for one, so it would misread the mask.
    """
    from transformers.masking_utils import sdpa_mask

    if overtime.inside():
        return None  # over all pieces it is causal by itself
    place = type(config).__module__.replace(".configuration_", ".modeling_")
    if place in sys.modules and not hasattr(sys.modules[place], "ALL_ATTENTION_FUNCTIONS"):
        _refused(f"the attention of {config.model_type} cannot be replaced; take 'eager'")
    return sdpa_mask(*sizes, config=config, **how)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers.

    Args:
        module: the layer; its `is_causal` counts where the call does not say it.
        query: [B, H, T, K].
        key, value: [B, G, S, K] and [B, G, S, V], where G divides H.
        attention_mask: bool [B, 1, T, S], true where a query sees a key. None: all keys for
            one query, and those up to itself for each of several, the first S - T keys left out.
        dropout: of the weights.
        scaling: of the scores; None is 1 / sqrt(K).
        more: `softcap`, `s_aux` (sinks [H]), `sliding_window`, `is_causal` and `position_bias`, as
            models pass them, and what does not change the result.

    Returns:
        y: [B, T, H, V], and None, for no weights are kept.

    Raises:
        CallError: weights are asked for, or a cap or sinks with what our blocks do not compute.

    Cost: one query reads each key and each value once; a pass is that of "sdpa".
    """
    if more.get("output_attentions"):
        _refused("output_attentions=True needs weights, which are not kept; take 'eager'")
    if overtime.inside():
        return _over_time(query, key, value, attention_mask, dropout, scaling, more), None
    T, S = query.shape[2], key.shape[2]
    cap, sinks, bias = (more.get(name) for name in ("softcap", "s_aux", "position_bias"))
    window = more.get("sliding_window") if attention_mask is None else None  # else the mask has it
    special = cap is not None or sinks is not None or (window or S) < S
    if special:
        _only(bias=bias, dropout=dropout or None, mask=_not_bool(attention_mask))
    elif T > 1 or bias is not None or dropout or _not_bool(attention_mask) or ops.obstacle(query):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        given = (query, key, value, attention_mask)
        return sdpa_attention_forward(module, *given, dropout=dropout, scaling=scaling, **more)
    causal = more.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if attention_mask is None and T > 1:
        _only(is_causal=None if causal else "False")
        key, value = key[:, :, :T], value[:, :, :T]
    place, low = _places(attention_mask, T, key.shape[2], window)
    numbers = query.shape[3] ** -0.5 if scaling is None else scaling, float(cap or 0), 0
    sequences = (x.transpose(1, 2) for x in (query, key, value))
    return ops.softmax_attention(*sequences, place, low, sinks, None, *numbers), None


def _over_time(
    query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float,
    scaling: float | None, more: dict[str, Any],
) -> Tensor:  # fmt: skip
    """The pass of one piece inside `trilby.sharded`."""
    if not passing.runs():
        _refused("inside of trilby.sharded a model has to be accelerated; accelerate(model) first")
    if more.get("is_causal") is False or more.get("position_bias") is not None or dropout:
        _refused("inside of trilby.sharded it is causal, without dropout and position_bias")
    if attention_mask is not None or query.shape[2] != key.shape[2]:
        _refused("inside of trilby.sharded there is no mask and no cache; leave them out")
    return overtime.attention(query, key, value, scaling, more)


def _refused(why: str) -> None:
    raise CallError(f"attn_implementation='{NAME}': {why}")


def _only(**others: Any) -> None:
    """An error for what is not computed beside a cap, sinks or a window without a mask."""
    for name, value in others.items():
        if value is not None:
            shown = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else value
            _refused(f"{name} is {shown} beside a cap, sinks or a window; take 'eager'")


def _not_bool(mask: Tensor | None) -> str | None:
    """What a mask is that says more than which keys are seen."""
    if mask is None or (mask.dtype == torch.bool and mask.ndim == 4 and mask.shape[1] == 1):
        return None
    return f"of {mask.dtype} {list(mask.shape)}"


def _places(mask: Tensor | None, T: int, S: int, window: int | None) -> tuple[Tensor, Tensor]:
    """[B or 1, S] places of the keys, that of the first query being 0, and the lowest seen, [., T].

    A key that no query sees stands below all of them.
    """
    device = None if mask is None else mask.device
    place = torch.arange(1 - S, 1, device=device)[None] + T - 1
    now = torch.arange(T, device=device)[None]
    if mask is None:
        return place, (now - (window or S) + 1).clamp(min=T - S)
    seen = mask[:, 0]  # [B, T, S]
    if T == 1:
        return place.where(seen[:, 0], -S - 1), (now - S).expand(len(seen), 1)
    return _intervals(seen, place)


def _intervals(seen: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """The same of a mask of several queries: each sees what lies between two places."""
    B, T, S = seen.shape
    there = seen.any(1)  # [B, S]
    last = torch.where(seen, torch.arange(S, device=seen.device), -1).amax(-1)  # [B, T]
    place = (torch.arange(S, device=seen.device) - (S - T)).expand(B, S).where(there, -S - 1)
    first = torch.where(seen, place[:, None], T + 1).amin(-1)  # [B, T], T + 1 where none is seen
    now = torch.arange(T, device=seen.device)
    again = (place[:, None] >= first[..., None]) & (place[:, None] <= now[:, None])
    if not torch.equal(again, seen) or bool((last > now + S - T).any()):
        _refused("a mask that is not causal with a window, padding or documents; take 'eager'")
    return place, first
