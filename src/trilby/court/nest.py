"""Nests of tensors: what a call takes and what it gives back, whatever they are wrapped in."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn


def leaves(result: Any) -> list[tuple[str, Any]]:
    """Every leaf of a result with its path; a pair is called `y` and `state`, all else `y`.

    >>> [path for path, _ in leaves((torch.zeros(1), {"total": torch.zeros(1)}))]
    ['y', 'state.total']
    """
    if type(result) in (tuple, list) and len(result) == 2:
        return [*_walk("y", result[0]), *_walk("state", result[1])]
    return _walk("y", result)


def clone(nest: Any) -> Any:
    """A copy that shares no memory with the original; modules are copied deeply."""
    return _rebuild(nest, lambda t: t.detach().clone(), copy.deepcopy)


def convert(nest: Any, dtype: torch.dtype) -> Any:
    """A copy whose floating tensors, and the modules' parameters and buffers, have `dtype`.

    >>> [t.dtype for t in convert([torch.zeros(1), torch.arange(1)], torch.float64)]
    [torch.float64, torch.int64]
    """

    def cast(t: Tensor) -> Tensor:
        copied = t.detach().clone()
        return copied.to(dtype) if t.is_floating_point() else copied

    return _rebuild(nest, cast, lambda module: copy.deepcopy(module).to(dtype))


def _children(nest: Any) -> list[tuple[str, Any]] | None:
    """Names and values one level down, or None for a leaf."""
    if isinstance(nest, Mapping):
        return [(str(key), value) for key, value in nest.items()]
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return list(zip(nest._fields, nest, strict=True))
    if isinstance(nest, tuple | list):
        return [(str(i), value) for i, value in enumerate(nest)]
    if is_dataclass(nest) and not isinstance(nest, type):
        return [(field.name, getattr(nest, field.name)) for field in fields(nest)]
    return None


def _walk(path: str, nest: Any) -> list[tuple[str, Any]]:
    children = _children(nest)
    if children is None:
        return [(path, nest)]
    return [leaf for name, value in children for leaf in _walk(f"{path}.{name}", value)]


def _rebuild(nest: Any, tensor: Callable[..., Any], module: Callable[..., Any]) -> Any:
    if isinstance(nest, Tensor):
        return tensor(nest)
    if isinstance(nest, nn.Module):
        return module(nest)
    children = _children(nest)
    if children is None:
        return nest
    values = [_rebuild(value, tensor, module) for _, value in children]
    if isinstance(nest, Mapping):
        pairs = dict(zip(nest, values, strict=True))
        if type(nest) is dict:
            return pairs
        copied: Any = copy.copy(nest)
        copied.update(pairs)
        return copied
    if is_dataclass(nest):
        same = copy.copy(nest)
        for (name, _), value in zip(children, values, strict=True):
            object.__setattr__(same, name, value)
        return same
    return type(nest)(*values) if hasattr(nest, "_fields") else type(nest)(values)
