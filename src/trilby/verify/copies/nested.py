"""Nested values: what a call takes and returns, whatever containers its tensors stand in.

Tensors, numpy arrays and Python numbers stand in tuples, lists, mappings, named tuples and
dataclasses. A way to compute is a callable: a module, a method of one, a `functools.partial` or a
function; the first three are copied with the tensors that they hold, a function is not.
"""

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from types import MethodType, NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Change = Callable[[Tensor], Tensor]
Leaves = list[tuple[str, Any]]
"""Path -> leaf, in order, as `leaves` gives them."""


def leaves(result: Any) -> list[tuple[str, Any]]:
    """Every leaf of a result with its path; a pair is called `y` and `state`, all else `y`.

    Numpy arrays become tensors, complex numbers pairs of real ones on a last axis of 2, and all
    of it lies on the CPU.

    >>> [path for path, _ in leaves((torch.zeros(1), {"total": torch.zeros(1)}))]
    ['y', 'state.total']
    """
    if type(result) in (tuple, list) and len(result) == 2:
        return [*_walk("y", result[0]), *_walk("state", result[1])]
    return _walk("y", result)


def clone(nested: Any) -> Any:
    """A copy that shares no memory with the original, and whose tensors have the same strides."""
    return alter(nested, torch.clone)


def copied(state: Any) -> Any:
    """A copy of a state: by `clone` if it is made of tensors, else by `deepcopy`."""
    plain = (Tensor, int, float, str, NoneType)
    known = all(isinstance(leaf, plain) for _, leaf in _walk("", state))
    return clone(state) if known else copy.deepcopy(state)


def in_bytes(nested: Any) -> tuple[Any, ...]:
    """What tells two nested values of tensors and numbers apart: paths, dtypes, shapes, bytes.

    >>> in_bytes([torch.ones(2)]) == in_bytes([torch.ones(4)[::2]]) != in_bytes([torch.zeros(2)])
    True
    """
    return tuple((path, *_bits(leaf)) for path, leaf in leaves(nested))


def convert(nested: Any, dtype: torch.dtype) -> Any:
    """A copy whose floating tensors, and the modules' parameters and buffers, have `dtype`.

    Complex tensors get the complex dtype of that size.

    >>> [t.dtype for t in convert([torch.zeros(1), torch.arange(1)], torch.float64)]
    [torch.float64, torch.int64]
    """
    return alter(nested, lambda t: t.to(alike(t, dtype)))


def alter(nested: Any, change: Change) -> Any:
    """A copy that shares no memory, every tensor of real or complex numbers made by `change`.

    `change` gets the memory of a tensor as it lies, so that the copy has the strides of the
    original; it works element by element. Parameters and buffers of modules are changed too.
    """

    def tensor(t: Tensor) -> Tensor:
        return _in_memory(t, change if numbers(t) else torch.clone)

    def module(original: nn.Module) -> nn.Module:
        deep = copy.deepcopy(original, _recomputed(original))
        for t in (*deep.parameters(), *deep.buffers()):
            if numbers(t):
                t.data = tensor(t.data)
        return deep

    return _rebuild(nested, tensor, module)


def _recomputed(module: nn.Module) -> dict[int, Any]:
    """Copies of tensors that a hook makes anew before each call, by the id of the tensor.

    `weight_norm`, `spectral_norm` and pruning keep such a one as an attribute. It belongs to a
    graph, so `deepcopy` refuses it.
    """
    hooked = [m for m in module.modules() if m._forward_pre_hooks]
    held = [t for m in hooked for t in vars(m).values() if isinstance(t, Tensor)]
    return {id(t): t.detach().clone() for t in held if t.grad_fn is not None}


def numbers(leaf: Any) -> bool:
    """Whether a leaf is a tensor of real or complex numbers."""
    return isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex())


def real(leaf: Any) -> bool:
    """Whether a leaf of a result holds real numbers: a floating tensor, or a Python float."""
    return type(leaf) is float or (isinstance(leaf, Tensor) and leaf.is_floating_point())


def precise(leaf: Any) -> Tensor:
    """A leaf of real numbers in float64."""
    return torch.as_tensor(leaf, dtype=torch.float64)


def alike(t: Tensor, dtype: torch.dtype) -> torch.dtype:
    """`dtype`, or for a complex tensor the complex dtype that is made of it."""
    return dtype.to_complex() if t.is_complex() else dtype


def held(nested: Any) -> list[Tensor]:
    """Every tensor of real or complex numbers in a nested value, those of its modules too."""
    found: list[Tensor] = []

    def tensor(t: Tensor) -> Tensor:
        found.extend([t] if numbers(t) else [])
        return t

    def module(m: nn.Module) -> nn.Module:
        found.extend(t for t in (*m.parameters(), *m.buffers()) if numbers(t))
        return m

    _rebuild(nested, tensor, module)
    return found


def located(names: Sequence[str], args: Any, kwargs: Mapping[str, Any]) -> Leaves:
    """The tensors themselves that a call is given, each with its path; not those of modules.

    >>> [path for path, _ in located(["x0", "x1"], (torch.ones(1), [3, torch.ones(1)]), {})]
    ['x0', 'x1.1']
    """
    given = [*zip(names, args, strict=True), *kwargs.items()]
    return [found for path, value in given for found in _located(path, value)]


def _located(path: str, nested: Any) -> Leaves:
    if isinstance(nested, Tensor):
        return [(path, nested)]
    inside = _children(nested) or ()
    return [found for name, value in inside for found in _located(f"{path}.{name}", value)]


def _in_memory(t: Tensor, change: Change) -> Tensor:
    """`change(t)` with the strides of t, where t may have gaps, overlaps or expanded axes."""
    t = t.detach()
    if t.layout is not torch.strided or t.is_contiguous() or not t.numel():
        return change(t)
    if t.is_conj() or t.is_neg():
        return change(t.resolve_conj().resolve_neg())
    extent = 1 + sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True))
    return change(t.as_strided((extent,), (1,))).as_strided(t.shape, t.stride())


def _children(nested: Any) -> list[tuple[str, Any]] | None:
    """Names and values one level down, or None for a leaf; what can be called is a leaf."""
    if isinstance(nested, Mapping):
        return [(str(key), value) for key, value in nested.items()]
    if isinstance(nested, tuple) and hasattr(nested, "_fields"):
        return list(zip(nested._fields, nested, strict=True))
    if isinstance(nested, tuple | list):
        return [(str(i), value) for i, value in enumerate(nested)]
    if is_dataclass(nested) and not isinstance(nested, type) and not callable(nested):
        return [(field.name, getattr(nested, field.name)) for field in fields(nested)]
    return None


def _walk(path: str, nested: Any) -> list[tuple[str, Any]]:
    children = _children(nested)
    if children is None:
        return [(path, _leaf(nested))]
    return [leaf for name, value in children for leaf in _walk(f"{path}.{name}", value)]


def _leaf(value: Any) -> Any:
    if _array(value):
        value = torch.as_tensor(np.array(value))
    if not isinstance(value, Tensor):
        return value
    dense = (value if value.layout is torch.strided else value.to_dense()).cpu()
    return torch.view_as_real(dense.resolve_conj()) if dense.is_complex() else dense


def _bits(leaf: Any) -> tuple[Any, ...]:
    if not isinstance(leaf, Tensor):
        return (repr(leaf),)
    flat = leaf.detach().contiguous().view(-1)
    return leaf.dtype, leaf.shape, flat.view(torch.uint8).numpy().tobytes()


def _array(value: Any) -> bool:
    """Whether a value is a numpy array, or a number of numpy, that torch can hold."""
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc"


def _rebuild(nested: Any, tensor: Change, module: Callable[[nn.Module], nn.Module]) -> Any:
    again = partial(_rebuild, tensor=tensor, module=module)
    if isinstance(nested, Tensor):
        return tensor(nested)
    if isinstance(nested, nn.Module):
        return module(nested)
    if isinstance(nested, MethodType) and isinstance(nested.__self__, nn.Module):
        return MethodType(nested.__func__, module(nested.__self__))
    if isinstance(nested, partial):
        return partial(again(nested.func), *again(nested.args), **again(nested.keywords))
    if _array(nested):
        return tensor(torch.as_tensor(np.array(nested))).numpy()[() if nested.ndim == 0 else ...]
    children = _children(nested)
    return (
        nested if children is None else _refilled(nested, [again(value) for _, value in children])
    )


def _refilled(nested: Any, values: list[Any]) -> Any:
    """A nested value of the same type with other values one level down."""
    if isinstance(nested, Mapping):
        pairs = dict(zip(nested, values, strict=True))
        if type(nested) is dict or not isinstance(nested, MutableMapping):
            return pairs
        copied: Any = copy.copy(nested)
        for key, value in pairs.items():  # some mappings forbid update
            copied[key] = value
        return copied
    if hasattr(nested, "_fields"):
        return type(nested)(*values)
    if isinstance(nested, tuple | list):
        return type(nested)(values)
    same = copy.copy(nested)
    for field, value in zip(fields(nested), values, strict=True):
        object.__setattr__(same, field.name, value)
    return same


def replaced(nested: Any, change: Change) -> Any:
    """A nested value of the same structure with `change(t)` for every tensor t of any dtype.

    >>> replaced({"a": (torch.ones(2), None)}, torch.numel)
    {'a': (2, None)}
    """
    return _rebuild(nested, change, lambda module: module)
