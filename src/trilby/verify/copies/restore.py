"""A module as it was before a call: what a call left behind is put back before the next one."""

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...streaming.inside import captured, installed

TABLES = ("_parameters", "_buffers", "_modules")
WATCHED = 2**22  # numbers up to which a module's values are compared after every call
_CONTAINERS = (list, dict, set, deque)
_lent: set[int] = set()  # parameters that `valued` gave other values, which are not put back


@dataclass(frozen=True)
class _Held:
    """A tensor, the memory it had, its version, and its values there or elsewhere."""

    tensor: Tensor
    memory: Tensor
    version: int
    value: Tensor


class Snapshot:
    """Remembers modules: attributes, modes, and every tensor that they hold.

    A tensor that was written into is known by its version, so that putting back costs nothing
    where nothing was written. What is written through `.data` has no version and is known by its
    values; these are compared after every call where there are no more than WATCHED, and else
    when they are asked for. Parameters are copied back from `source`, the rest from copies.
    """

    def __init__(
        self,
        modules: list[nn.Module],
        source: list[nn.Module],
        inside: nn.Module | None = None,
    ) -> None:
        """`source` are modules of the same structure that are never run; they may be the same.

        What `inside` and the modules in it hold is put back as deep copies: it keeps a state.
        """
        self._inside = None if inside is None else (inside, captured(inside))
        self._attributes = [(m, dict(vars(m)), _contents(vars(m))) for m in modules]
        self._tensors: list[_Held] = []
        tensors = {id(t): t for m in modules for t in _tensors(m)}
        self._small = sum(t.numel() for t in tensors.values()) <= WATCHED
        for module, origin in zip(modules, source, strict=True):
            for name, p in module._parameters.items():
                if p is not None and tensors.pop(id(p), None) is not None:
                    first = origin._parameters[name]
                    own = self._small or first is None or first is p
                    self._remember(p, p.detach().clone() if own else first)
            for tensor in _tensors(module):
                if tensors.pop(id(tensor), None) is not None:
                    self._remember(tensor, tensor.detach().clone())

    def _remember(self, tensor: Tensor, value: Any) -> None:
        if not tensor.is_inference() and tensor.layout is torch.strided:
            self._tensors.append(_Held(tensor, tensor.data, tensor._version, value))

    def restore(self, values: bool = False) -> None:
        """Put everything back; with `values` they are compared however many there are."""
        for module, before, contents in self._attributes:
            now = vars(module)
            if now.keys() != before.keys() or any(now[k] is not v for k, v in before.items()):
                now.clear()
                now.update(before)
            for name, content in contents.items():
                if not _equal(before[name], content):
                    _refill(before[name], content)
        for i, held in enumerate(self._tensors):
            tensor = held.tensor
            if id(tensor) in _lent:
                continue
            if tensor.data_ptr() != held.memory.data_ptr() or tensor.shape != held.memory.shape:
                tensor.data = held.memory
            written = tensor._version != held.version
            if written or ((values or self._small) and not _same(tensor, held.value)):
                with torch.no_grad():
                    tensor.copy_(held.value)
                self._tensors[i] = replace(held, version=tensor._version)
        if self._inside is not None:
            installed(*self._inside)


def _tensors(module: nn.Module) -> list[Tensor]:
    """The parameters, buffers and attributes of a module itself that are tensors."""
    held = (*module._parameters.values(), *module._buffers.values(), *vars(module).values())
    return [t for t in held if isinstance(t, Tensor)]


def _same(tensor: Tensor, value: Tensor) -> bool:
    """Whether values are equal, NaN beside NaN too; those of another dtype as they are here."""
    here, there = tensor.detach(), value.detach().to(tensor.dtype)
    if torch.equal(here, there):
        return True
    return bool(((here == there) | ((here != here) & (there != there))).all())


@contextmanager
def valued(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """The parameters with other values, and afterwards as before."""
    before = [p.data for p in parameters]
    lent = {id(p) for p, value in zip(parameters, values, strict=True) if value is not p} - _lent
    _lent.update(lent)
    try:
        for p, value in zip(parameters, values, strict=True):
            if value is not p:
                p.data = value.detach()
        yield
    finally:
        _lent.difference_update(lent)
        for p, value in zip(parameters, before, strict=True):
            p.data = value


def _contents(attributes: dict[str, Any]) -> dict[str, Any]:
    """Copies of the containers, one level deep: a call may append to them."""
    known = {k: v for k, v in attributes.items() if k in TABLES or type(v) in _CONTAINERS}
    return {k: copy.copy(v) for k, v in known.items()}


def _refill(container: Any, content: Any) -> None:
    """The same container with other objects in it; somebody else may hold on to it."""
    container.clear()
    if isinstance(container, list | deque):
        container.extend(content)
    else:
        container.update(content)


def _equal(other: Any, value: Any) -> bool:
    """Whether two containers hold the same objects."""
    if type(other) is not type(value) or len(other) != len(value):
        return False
    return all(a is b for a, b in zip(_items(other), _items(value), strict=True))


def _items(container: Any) -> list[Any]:
    if isinstance(container, dict):
        return [*container.keys(), *container.values()]
    return list(container)
