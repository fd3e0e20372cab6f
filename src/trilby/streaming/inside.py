"""A state that is kept inside the module: in buffers, in attributes, in objects that these hold."""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import CallError
from ..shapes import what
from .carry import Call, Carry, Loop, Writer, importable, method, takes

_OWN = frozenset(vars(nn.Module()))  # hooks, tables, the mode: of every module
Reset = str | Callable[..., Any] | None


class Kept:
    """What the modules of a stream hold between two calls, as a copy.

    Attributes:
        held: name of a module -> its attributes, and its buffers.
    """

    def __init__(self, held: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> None:
        self.held = held

    def __deepcopy__(self, _memo: Any) -> "Kept":
        return self  # it is not written into: a copy of it is put into the module

    def cast(self, dtype: torch.dtype) -> "Kept":
        """The same with real numbers in another dtype."""
        return Kept(_copied(self.held, {}, dtype))


def by_module(reset: Reset = None) -> Carry:
    """`f.reset(); f(x[:, :3]); f(x[:, 3:])`: the state is kept inside the module.

    Between the calls of a stream, what the module holds (buffers and attributes, also those of the
    modules in it) is copied and put back, so that other calls may come between.

    Args:
        reset: empties the state before the first position, and turns streaming on if need be: the
            name of a method, called with B if it takes an argument, or a function of the module,
            or of the module and B. That a second stream begins anew is tested too. None: a stream
            begins with the module as it was given.
    """

    def begin(target: Any, B: int) -> Kept:
        if not isinstance(target, nn.Module):
            raise CallError(f"by_module: it is for a module, and this is {what(target)}")
        _emptied(reset, target, B)
        return captured(target)

    def call(now: Call, past: Any) -> tuple[Any, Any]:
        if past is not None:
            installed(now.target, past)
        y = now.pick(now())
        return y.clone() if isinstance(y, Tensor) else y, captured(now.target)

    def again(target: Any, past: Any, B: int) -> Kept:
        installed(target, past)
        return begin(target, B)

    def loop(write: Writer, over: Loop, more: str) -> list[str]:
        called = write.invocation(over.at, more) + write.picked
        return [over.header, f"    parts.append({called})"]

    before = () if reset is not None else ("from copy import deepcopy", "fresh = deepcopy(f)")
    return Carry(
        "inside the module", begin, call, lambda target, B: _opening(reset, target, B), loop,
        again=None if reset is None else again, inside=True, before=before,
    )  # fmt: skip


def _emptied(reset: Reset, target: nn.Module, B: int) -> None:
    if isinstance(reset, str):
        way = method(target, reset)
        way(B) if takes(way, 1) else way()
    elif reset is not None:
        reset(target, B) if takes(reset, 2) else reset(target)


def _opening(reset: Reset, target: Any, B: int) -> list[str]:
    if reset is None:
        return ["f, parts = deepcopy(fresh), []"]
    if isinstance(reset, str):
        return [f"f.{reset}({B if takes(method(target, reset), 1) else ''})", "parts = []"]
    given = f"f, {B}" if takes(reset, 2) else "f"
    if home := importable(reset):
        return [f"from {home} import {reset.__name__}", f"{reset.__name__}({given})", "parts = []"]
    return [f"...  # what {getattr(reset, '__name__', 'reset')} does with f", "parts = []"]


def captured(target: nn.Module) -> Kept:
    """A copy of what a module and those in it hold, without parameters."""
    modules = dict(target.named_modules())
    held = {
        name: ({k: v for k, v in vars(m).items() if k not in _OWN}, dict(m._buffers))
        for name, m in modules.items()
    }
    return Kept(_copied(held, _same(target)))


def installed(target: nn.Module, kept: Kept) -> None:
    """Make a module and those in it hold a copy of what was captured."""
    held = _copied(kept.held, _same(target))
    for name, module in target.named_modules():
        attributes, buffers = held.get(name, ({}, {}))
        own = vars(module)
        for key in [k for k in own if k not in _OWN and k not in attributes]:
            del own[key]
        own.update(attributes)
        module._buffers.clear()
        module._buffers.update(buffers)


def _same(target: nn.Module) -> dict[int, Any]:
    """What a copy shares with the original: modules and parameters, by the id."""
    return {id(t): t for t in (*target.modules(), *target.parameters())}


def _copied(held: Any, same: dict[int, Any], dtype: torch.dtype | None = None) -> Any:
    """A copy; what cannot be copied, as a lock or a generator, is itself."""
    memo = dict(same)

    def one(value: Any) -> Any:
        with suppress(Exception):
            return copy.deepcopy(value, memo)
        return value

    with _Cloning(dtype):
        return {
            name: tuple({k: one(v) for k, v in part.items()} for part in parts)
            for name, parts in held.items()
        }


class _Cloning(TorchFunctionMode):
    """`deepcopy` of a tensor is a clone, also of one that belongs to a graph."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.__deepcopy__ or isinstance(args[0], nn.Parameter):
            return func(*args, **(kwargs or {}))
        t, memo = args
        if id(t) not in memo:
            real = self.dtype is not None and t.is_floating_point()
            memo[id(t)] = t.to(self.dtype, copy=True) if real else t.clone()
        return memo[id(t)]
