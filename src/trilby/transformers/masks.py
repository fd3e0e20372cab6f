"""The masks of attention layers beside ours, where a model makes them without its positions.

transformers keeps packed sequences apart in attention by `position_ids`, which a model hands to the
function that makes its mask. Some models with a recurrence do not. What their hooks know of packed
sequences is handed on here, and nothing else is changed.
"""

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .passing import known

MAKERS = ("create_causal_mask", "create_sliding_window_causal_mask")
"""Functions of `transformers.masking_utils` that a module of a model has as globals."""


def makers(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Ours in the places of those that a module has."""
    return {name: told(getattr(module, name)) for name in MAKERS if hasattr(module, name)}


@functools.cache
def told(maker: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which gets the positions of packed sequences where a model has none."""
    if hasattr(maker, "told"):  # it is one of these
        return maker
    place = [*inspect.signature(maker).parameters].index("position_ids")

    @functools.wraps(maker)
    def made(*args: Any, **kwargs: Any) -> Any:
        index = known().packing.get("seq_idx")
        if index is not None and len(args) <= place and kwargs.get("position_ids") is None:
            kwargs["position_ids"] = positions(index)
        return maker(*args, **kwargs)

    made.told = True  # type: ignore[attr-defined]
    return made


def positions(index: Tensor) -> Tensor:
    """[B, T] positions, each from the beginning of its sequence on.

    >>> positions(torch.tensor([[0, 0, 0, 1, 1, 2]]))
    tensor([[0, 1, 2, 0, 1, 0]])
    """
    places = torch.arange(index.shape[1], device=index.device).expand(index.shape)
    new = torch.ones_like(index, dtype=torch.bool)
    new[:, 1:] = index[:, 1:] != index[:, :-1]
    return places - places.where(new, 0).cummax(1).values
