"""Where transformers looks its functions up, and how others are put there.

Since 5.16 a module of a model decorates each function that a package may replace with
`use_kernel_func_from_hub_with_fallback(name, package)`. The decorated function stays a global of
that module, which its layers look up at each call: ours takes its name. Where the package `kernels`
is installed the global is an object of that package, and `kernels` puts ours into it.
"""

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn

from ..errors import CallError
from . import hub

FIRST = (5, 16)
"""The first release with the decorator."""


def checked() -> None:
    """Raise a CallError unless a transformers with the decorator is installed."""
    try:
        import transformers
    except ImportError as error:
        raise CallError(
            f"trilby.transformers: transformers cannot be imported ({error}); "
            "pip install 'transformers>=5.16'"
        ) from error
    release = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if release < FIRST:
        raise CallError(
            f"trilby.transformers: transformers is {transformers.__version__}, whose functions "
            "cannot be replaced; 5.16 is the first release that allows it"
        )


def decorated(value: object) -> str | None:
    """The name under which a function can be replaced, or None where it cannot be."""
    value = hub.behind(value)
    code = getattr(value, "__code__", None)
    cells = getattr(value, "__closure__", None)
    if not isinstance(code, CodeType) or cells is None or "torch_function" not in code.co_freevars:
        return None
    found = dict(zip(code.co_freevars, cells, strict=True))
    if "func_name" not in found:
        return _written(found["torch_function"].cell_contents)
    name = found["func_name"].cell_contents
    return name if isinstance(name, str) else None


@functools.cache
def _written(function: Callable[..., Any]) -> str | None:
    """The name in the line of the decorator; 5.16 keeps it nowhere else."""
    try:
        source = inspect.getsource(function)
    except OSError:
        return None
    name = re.search(r'^@use_kernel_func_from_hub_with_fallback\(\s*"(\w+)"', source, re.M)
    return None if name is None else name[1]


def places(module: ModuleType) -> dict[str, str]:
    """The globals of a module that hold functions which can be replaced -> their names."""
    found = {place: decorated(value) for place, value in vars(module).items()}
    return {place: name for place, name in found.items() if name is not None}


def calling(model: nn.Module) -> Iterator[tuple[str, nn.Module, ModuleType, tuple[str, ...]]]:
    """The layers whose methods look such functions up: path, layer, its module, their names."""
    known: dict[type, tuple[ModuleType, tuple[str, ...]]] = {}
    for path, layer in model.named_modules():
        kind = type(layer)
        if kind not in known:
            known[kind] = _looked_up(kind)
        module, names = known[kind]
        if names:
            yield path, layer, module, names


def _looked_up(kind: type) -> tuple[ModuleType, tuple[str, ...]]:
    """The module of the class that calls them, and the names of what its methods look up."""
    for base in kind.__mro__:
        module = sys.modules.get(base.__module__)
        if module is None or not base.__module__.startswith("transformers."):
            continue
        there = originals(module)
        called = {n for method in vars(base).values() for n in _names(method) if n in there}
        if called:
            return module, tuple(there[place] for place in sorted(called))
    return sys.modules[__name__], ()


def _names(method: Any) -> tuple[str, ...]:
    """The globals that a method looks up, behind its decorators."""
    bare = inspect.unwrap(method) if callable(method) else method
    return bare.__code__.co_names if isinstance(bare, FunctionType) else ()


_replaced: dict[ModuleType, dict[str, Callable[..., Any]]] = {}
"""For each module that has ours, what stood there."""


def originals(module: ModuleType) -> dict[str, str]:
    """As `places`, also where ours are there now."""
    before = _replaced.get(module, {})
    return places(module) | {p: n for p, f in before.items() if (n := decorated(f)) is not None}


def put(module: ModuleType, functions: dict[str, Callable[..., Any]]) -> None:
    """Ours, in the places of a module; done twice it is as done once."""
    for place, function in functions.items():
        original = _replaced.setdefault(module, {}).setdefault(place, getattr(module, place))
        if hub.takes(original):
            hub.put(original, function)
        else:
            setattr(module, place, function)


def put_back(module: ModuleType) -> None:
    """What stood there before."""
    for place, function in _replaced.pop(module, {}).items():
        if hub.takes(function):
            hub.put_back(function)
        else:
            setattr(module, place, function)
