"""The hooks of an accelerated model, and who still needs our functions in a module.

A deep copy of a model copies its hooks, and a model from a pickle has them again. So the hooks are
what keeps our functions in place: a copy stays accelerated when the original is restored.
"""

import pkgutil
import weakref
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any
from weakref import WeakSet

from torch import nn

from . import masks, passing, seam
from .functions import OURS
from .proof import counted

_holders: dict[ModuleType, WeakSet["Hooks"]] = {}  # who needs ours in each module


class Hooks:
    """The hooks of one accelerated model; ours stay in `modules` as long as it exists.

    Attributes:
        modules: those of transformers whose functions the layers of the model call.
    """

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self.modules: set[ModuleType] = set()
        self.hold(modules)
        weakref.finalize(self, _sweep).atexit = False

    def hold(self, modules: Iterable[ModuleType]) -> None:
        """Put ours into these modules too."""
        for module in modules:
            _holders.setdefault(module, WeakSet()).add(self)
            there = seam.places(module)
            seam.put(module, {place: counted(n) for place, n in there.items() if n in OURS})
            seam.put(module, masks.makers(module))
            self.modules.add(module)

    def let_go(self) -> None:
        """Ours are not needed for this model any more."""
        for module in self.modules:
            _holders.get(module, WeakSet()).discard(self)
        self.modules = set()
        _sweep()

    def __deepcopy__(self, _: dict[int, Any]) -> "Hooks":
        return Hooks(self.modules)

    def __reduce__(self) -> tuple[Callable[..., "Hooks"], tuple[Any, ...]]:
        return _named, (sorted(module.__name__ for module in self.modules),)

    def enter(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A forward pre-hook."""
        return passing.enter(module, args, kwargs)

    def leave(self, *_: Any) -> None:
        """A forward hook, called after an exception too."""
        passing.leave()


def _named(names: list[str]) -> Hooks:
    """Those of a pickle."""
    seam.checked()
    return Hooks(pkgutil.resolve_name(name) for name in names)


def _sweep() -> None:
    """Put the originals back where no model needs ours any more."""
    for module, holders in [*_holders.items()]:
        if next(iter(holders), None) is None and _holders.pop(module, None) is not None:
            seam.put_back(module)


def of(model: nn.Module) -> Hooks | None:
    """The hooks of a model, or None."""
    for hook in model._forward_pre_hooks.values():
        if isinstance(owner := getattr(hook, "__self__", None), Hooks):
            return owner
    return None


def around(model: nn.Module, paths: list[str], modules: Iterable[ModuleType]) -> None:
    """Put hooks on layers, and on all modules around them; twice is as once."""
    hooks = of(model) or Hooks(())
    hooks.hold(modules)
    outer = {path[:i] for path in paths for i, sign in enumerate(path) if sign == "."}
    for path in ("", *outer, *paths):
        module = model.get_submodule(path)
        if isinstance(module, nn.ModuleList) or of(module) is not None:
            continue
        module.register_forward_pre_hook(hooks.enter, with_kwargs=True)
        module.register_forward_hook(hooks.leave, always_call=True)


def away(model: nn.Module) -> None:
    """Take the hooks off."""
    found = {hooks for module in model.modules() if (hooks := of(module)) is not None}
    for module in model.modules():
        passing.forget(module)
        for key in _ours(module._forward_pre_hooks):
            del module._forward_pre_hooks[key]
            module._forward_pre_hooks_with_kwargs.pop(key, None)
        for key in _ours(module._forward_hooks):
            del module._forward_hooks[key]
            module._forward_hooks_always_called.pop(key, None)
    for hooks in found:
        hooks.let_go()


def _ours(hooks: dict[int, Any]) -> list[int]:
    return [k for k, hook in hooks.items() if isinstance(getattr(hook, "__self__", None), Hooks)]
