"""Modules that a function reaches without being given them, put back as they were.

A module that is handed over is copied. One that stands in a closure, in a default, behind a name
of the file or in a bound method cannot be swapped for its copy, so it is run itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from .restore import Snapshot


@contextmanager
def restored(way: Callable[..., Any]) -> Iterator[None]:
    """Afterwards the parameters, buffers, attributes and modes of reached modules are as before.

    Also after an exception. What an attribute points at is not copied, only the attribute.
    """
    modules = [m for top in reached(way) for m in top.modules()]
    snapshot = Snapshot(modules, modules)
    try:
        yield
    finally:
        snapshot.restore(values=True)


def reached(way: Any) -> list[nn.Module]:
    """The modules in closures, defaults and file-level names of a function and those it calls.

    >>> model = torch.nn.Linear(2, 2)
    >>> [type(m).__name__ for m in reached(lambda x: model(x))], reached(model)
    (['Linear'], [])
    """
    return [thing for thing in _things(way) if isinstance(thing, nn.Module)]


def modules_of(target: Any) -> list[nn.Module]:
    """A module itself, that of a bound method, or those that a function reaches."""
    if isinstance(target, nn.Module):
        return [target]
    owner = getattr(target, "__self__", None)
    return [owner] if isinstance(owner, nn.Module) else reached(target)


def tensors_of(given: Any) -> Iterator[Tensor]:
    """Tensors in nested values, in modules, and in modules that functions reach."""
    for value in tree_leaves(given):
        if isinstance(value, Tensor):
            yield value
        for module in modules_of(value):
            yield from module.parameters()
            yield from module.buffers()


def captured(way: Any) -> list[Tensor]:
    """The tensors that take gradients in closures, defaults and file-level names, likewise.

    >>> free = torch.ones(2, requires_grad=True)
    >>> captured(lambda x: x * free) == [free]
    True
    """
    found = [thing for thing in _things(way) if isinstance(thing, Tensor)]
    return [t for t in found if t.requires_grad and t.is_leaf]


def _things(way: Any) -> list[Any]:
    """What a function holds on to, through whatever functions; modules are not looked into."""
    found: list[Any] = []
    seen: set[int] = set()
    file = file_of(way)
    todo = [way]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or (thing is way and isinstance(way, nn.Module)):
            continue
        seen.add(id(thing))
        found.append(thing)
        if not isinstance(thing, nn.Module):
            todo += _next(thing, file)
    return found


def file_of(way: Any) -> str | None:
    """The file in which a way was written, by its module's name."""
    while isinstance(way, partial | MethodType):
        way = way.func if isinstance(way, partial) else way.__func__
    return getattr(way, "__module__", None)


def _next(thing: Any, file: str | None) -> list[Any]:
    """What a callable holds on to; functions of other files than the first are not followed."""
    if isinstance(thing, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, MethodType):
        of_module = isinstance(thing.__self__, nn.Module)  # then it is the copy's already
        return [thing.__func__] if of_module else [thing.__func__, thing.__self__]
    if isinstance(thing, FunctionType) and thing.__module__ == file:
        cells = [value for cell in thing.__closure__ or () for value in _content(cell)]
        named = [thing.__globals__.get(name) for name in sorted(names_of(thing.__code__))]
        return [*cells, *named, *(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
    return held_by(thing)


def held_by(thing: Any) -> list[nn.Module]:
    """The modules that are attributes of an object, of a class that has no rules of its own."""
    plain = type(thing).__module__ not in ("builtins", "types") and hasattr(thing, "__dict__")
    if not plain or isinstance(thing, type | ModuleType | nn.Module):
        return []
    return [value for value in vars(thing).values() if isinstance(value, nn.Module)]


def names_of(code: CodeType) -> set[str]:
    """The names that a function looks up in its file, and those inside it."""
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return {*code.co_names}.union(*map(names_of, inner))


def _content(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # a name that is bound later
        return []
