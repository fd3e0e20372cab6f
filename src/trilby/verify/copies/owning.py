"""A function that reaches modules, as a module that owns them: it can be copied, cast and redrawn.

`lambda ids: model(ids)[0]` runs the very `model` that stands in its closure. `Owning` holds the
function and the modules. A copy of it holds copies of the modules, and the same function with the
copies in the place of the originals: in closures, defaults, names of its file, partials and
methods.
"""

import copy
from collections.abc import Callable
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import nn

from .reached import file_of, held_by, names_of, reached


class Owning(nn.Module):
    """A function together with the modules that it reaches.

    Attributes:
        way: the function.
        __name__: what it is called.
    """

    def __init__(self, way: Callable[..., Any], modules: list[nn.Module], name: str) -> None:
        super().__init__()
        self.way, self.__name__ = way, name
        kinds = [type(m).__name__ for m in modules]
        for i, (kind, module) in enumerate(zip(kinds, modules, strict=True)):
            self.add_module(kind if kinds.count(kind) == 1 else f"{kind}{i}", module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives."""
        return self.way(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Owning":
        old = [*self.children()]
        new = [copy.deepcopy(m, memo) for m in old]
        swapped = {id(m): other for m, other in zip(old, new, strict=True)}
        for m in old:
            swapped |= {id(k): memo.get(id(k), k) for k in m.modules()}
        other = Owning(_Rebound(swapped, file_of(self.way)).thing(self.way), new, self.__name__)
        other.training = self.training
        return other


def owning(way: Any, name: str) -> Any:
    """The function as `Owning` where it reaches modules and a copy can be made, else itself."""
    if isinstance(way, nn.Module):
        return way
    owner = getattr(way, "__self__", None)
    modules = [owner] if isinstance(owner, nn.Module) else reached(way)
    if not modules:
        return way
    whole = Owning(way, modules, name)
    try:
        copy.deepcopy(whole)
    except Exception:
        return way
    return whole


class _Rebound:
    """Functions with other modules in the place of those that they reach."""

    def __init__(self, modules: dict[int, nn.Module], file: str | None) -> None:
        self.modules, self.file = modules, file
        self.made: dict[int, Any] = {}

    def thing(self, thing: Any) -> Any:
        """A module, or a callable, with its modules replaced; anything else is itself."""
        if id(thing) in self.modules:
            return self.modules[id(thing)]
        if id(thing) not in self.made:
            self.made[id(thing)] = thing
            self._make(thing)
        return self.made[id(thing)]

    def _make(self, thing: Any) -> None:
        made = self.made
        if isinstance(thing, partial):
            given = {key: self.thing(value) for key, value in thing.keywords.items()}
            made[id(thing)] = partial(self.thing(thing.func), *map(self.thing, thing.args), **given)
        elif isinstance(thing, MethodType):
            made[id(thing)] = MethodType(self.thing(thing.__func__), self.thing(thing.__self__))
        elif isinstance(thing, FunctionType):
            if thing.__module__ == self.file:
                self._function(thing)
        elif held_by(thing):
            other = copy.copy(thing)
            made[id(thing)] = other
            vars(other).update({k: self.thing(v) for k, v in vars(thing).items()})

    def _function(self, thing: FunctionType) -> None:
        cells = tuple(CellType() for _ in thing.__closure__ or ())
        names = dict(thing.__globals__)
        other = FunctionType(thing.__code__, names, thing.__name__, None, cells or None)
        self.made[id(thing)] = other
        other.__kwdefaults__ = {k: self.thing(v) for k, v in (thing.__kwdefaults__ or {}).items()}
        other.__defaults__ = tuple(map(self.thing, thing.__defaults__ or ())) or None
        other.__qualname__, other.__module__ = thing.__qualname__, thing.__module__
        for new, cell in zip(cells, thing.__closure__ or (), strict=True):
            try:
                new.cell_contents = self.thing(cell.cell_contents)
            except ValueError:  # a name that is bound later
                continue
        for name in names_of(thing.__code__) & names.keys():
            names[name] = self.thing(names[name])
