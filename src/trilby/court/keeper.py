"""A module as it was before a call: what a call left behind is put back before the next one."""

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .kept import TABLES

_CONTAINERS = (list, dict, set, deque)


class Keeper:
    """Remembers modules: attributes, modes, and every tensor that they hold.

    A tensor that was written into is known by its version, so that putting back costs nothing
    where nothing was written; parameters are copied back from `source`, the rest from copies.
    """

    def __init__(self, modules: list[nn.Module], source: list[nn.Module]) -> None:
        """`source` are modules of the same structure that nobody runs; they may be the same."""
        self._attributes = [(m, _copied(vars(m))) for m in modules]
        self._tensors: list[tuple[Tensor, int, Tensor]] = []
        for module, origin in zip(modules, source, strict=True):
            for name, tensor in module._parameters.items():
                if tensor is not None:
                    first = origin._parameters[name]
                    value = tensor.detach().clone() if first is tensor else first
                    self._remember(tensor, value)
            held = [*module._buffers.values(), *vars(module).values()]
            for value in held:
                if isinstance(value, Tensor):
                    self._remember(value, value.detach().clone())

    def _remember(self, tensor: Tensor, value: Any) -> None:
        if not tensor.is_inference():
            self._tensors.append((tensor, tensor._version, value))

    def restore(self) -> None:
        """Put everything back."""
        for module, before in self._attributes:
            now = vars(module)
            if _differs(now, before):
                now.clear()
                now.update(_copied(before))
        for i, (tensor, version, value) in enumerate(self._tensors):
            if tensor._version != version:
                with torch.no_grad():
                    tensor.copy_(value)
                self._tensors[i] = tensor, tensor._version, value


@contextmanager
def valued(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """The parameters with other values, and afterwards as before."""
    before = [p.data for p in parameters]
    try:
        for p, value in zip(parameters, values, strict=True):
            if value is not p:
                p.data = value.detach()
        yield
    finally:
        for p, value in zip(parameters, before, strict=True):
            p.data = value


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes; containers one level deep, since a call may append to them."""
    return {k: copy.copy(v) if _inside(k, v) else v for k, v in attributes.items()}


def _inside(name: str, value: Any) -> bool:
    return name in TABLES or type(value) in _CONTAINERS


def _differs(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether an attribute is another object, or a container holds other objects."""
    if now.keys() != before.keys():
        return True
    for name, value in before.items():
        other = now[name]
        if other is not value and not (_inside(name, value) and _equal(other, value)):
            return True
    return False


def _equal(other: Any, value: Any) -> bool:
    """Whether two containers hold the same objects."""
    if type(other) is not type(value) or len(other) != len(value):
        return False
    return all(a is b for a, b in zip(_items(other), _items(value), strict=True))


def _items(container: Any) -> list[Any]:
    if isinstance(container, dict):
        return [*container.keys(), *container.values()]
    return list(container)
