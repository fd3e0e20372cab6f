"""Packed sequences reach the layers: what `position_ids` that begin again say, as their keywords.

A collator that flattens its samples gives `position_ids`, and transformers' own attention keeps
the samples apart by them. Its recurrent layers ask for `seq_idx` and `cu_seq_lens_q` instead.
"""

import inspect
from typing import Any

import torch
from torch import Tensor

CACHES = ("past_key_values", "cache", "cache_params")  # what models call it


def cache_of(model: Any, result: Any) -> dict[str, Any]:
    """The keyword that hands the cache of one call to the next; {} where there is no cache."""
    found = {n: past for n in CACHES if (past := getattr(result, n, None)) is not None}
    takes = inspect.signature(model.forward).parameters
    return {"cache" if "cache" in takes else n: past for n, past in [*found.items()][:1]}


def of_call(kwargs: dict[str, Any]) -> dict[str, Tensor]:
    """Both keywords, from either of them or from `position_ids` that begin again; or neither."""
    index, borders = kwargs.get("seq_idx"), kwargs.get("cu_seq_lens_q")
    if index is None:
        index = _by_positions(kwargs) if borders is None else _by_borders(borders)
    if index is None:
        return {}
    if index.shape[0] != 1 or (borders is None and torch.compiler.is_compiling()):
        return {"seq_idx": index}  # in a graph, how many sequences there are is not known
    return {"seq_idx": index, "cu_seq_lens_q": _borders(index) if borders is None else borders}


def _by_positions(kwargs: dict[str, Any]) -> Tensor | None:
    """Where positions do not go up by one a new sequence begins; None where it is all one.

    A graph of `torch.compile` has no branch for that, so there it is one sequence or several.
    """
    positions = kwargs.get("position_ids")
    if not isinstance(positions, Tensor) or positions.ndim != 2 or positions.shape[1] < 2:
        return None
    if kwargs.get("attention_mask") is not None:  # positions beside padding begin again as well
        return None
    if _goes_on(kwargs):
        return None
    new = positions[:, 1:] != positions[:, :-1] + 1
    if not torch.compiler.is_compiling() and not bool(new.any()):
        return None
    first = torch.zeros_like(positions[:, :1])
    return torch.cat([first, new.cumsum(1)], 1).to(torch.int32)


def _goes_on(kwargs: dict[str, Any]) -> bool:
    """Whether a cache already holds something."""
    past = next((kwargs[n] for n in CACHES if kwargs.get(n) is not None), None)
    if past is None:
        return False
    recurrent = [getattr(layer, "has_previous_state", None) for layer in past.layers]
    if any(recurrent):
        return any(any(one.values()) for one in recurrent if one)
    return bool(past.get_seq_length())


def _by_borders(borders: Any) -> Tensor | None:
    if not isinstance(borders, Tensor):
        return None
    lengths = borders.diff()
    return torch.arange(len(lengths), dtype=torch.int32).repeat_interleave(lengths.cpu())[None]


def _borders(index: Tensor) -> Tensor:
    """[N + 1] of one row."""
    new = (index[0, 1:] != index[0, :-1]).nonzero()[:, 0] + 1
    ends = new.new_tensor([index.shape[1]])
    return torch.cat([new.new_zeros(1), new, ends]).to(torch.int32)
