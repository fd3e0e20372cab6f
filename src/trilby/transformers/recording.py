"""One forward of a model, and all that its layers hand to the functions that mix positions.

While it runs, two kinds of names in the modules of the model's layers hold wrappers: the functions
that `seam` finds, and the door to the attention functions. A wrapper calls what stood there, so the
model computes what it computes without us, and keeps the arguments and the output. What else the
model has (its mode, its configuration, its hooks) is at the end as it was, also after an exception.
"""

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from . import seam
from .attention import attention
from .functions import OURS, in_parts
from .quiet import quietly

DOOR = "ALL_ATTENTION_FUNCTIONS"  # the name of transformers' AttentionInterface in its modules
EAGER = "eager_attention_forward"  # the attention function that stands in each module itself
WHOLE = tuple(name for name, function in OURS.items() if function is in_parts)
_alone = threading.RLock()  # names in modules are everybody's: one recording at a time


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a function that mixes positions.

    Attributes:
        layer: the number of the layer that ran.
        path: of the module that called, as in `model.get_submodule(path)`.
        function: its name, "attention" or one that `seam` finds.
        given: the arguments by name, as copies; those of `**kwargs` too.
        output: a copy of what it returned; of several results the first.
    """

    layer: int
    path: str
    function: str
    given: dict[str, Any]
    output: Tensor


@dataclass
class Recording:
    """What was heard.

    Attributes:
        calls: in order.
        layers: the number of each layer that ran -> the name of its class.
    """

    calls: list[Call] = field(default_factory=list)
    layers: dict[int, str] = field(default_factory=dict)


@dataclass
class _Ear:
    """A recording while it is made, by one thread.

    Attributes:
        paths: of every module.
        running: the modules that run now, the innermost last, with their number in a list.
    """

    recording: Recording
    paths: dict[nn.Module, str]
    thread: int = field(default_factory=threading.get_ident)
    running: list[tuple[nn.Module, int | None]] = field(default_factory=list)

    def enter(self, number: int | None) -> Callable[..., None]:
        """A forward pre-hook of a module, which may have a number in a list of layers."""

        def hook(module: nn.Module, *_: Any) -> None:
            if threading.get_ident() == self.thread:
                self.running.append((module, number))

        return hook

    def leave(self, *_: Any) -> None:
        """A forward hook, called after an exception too."""
        if threading.get_ident() == self.thread and self.running:
            module, number = self.running.pop()
            if number is not None and not any(n is not None for _, n in self.running):
                self.recording.layers[number] = type(module).__name__

    def wrapped(self, function: Callable[..., Any], name: str, **known: Any) -> Callable[..., Any]:
        """The function, whose calls are kept; `known` goes with the arguments."""
        if getattr(function, "recorded", False):
            return function
        signature = inspect.signature(attention if name == "attention" else OURS[name])

        def called(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if threading.get_ident() == self.thread:
                self.keep(name, signature, (args, kwargs), result, known)
            return result

        called.recorded = True  # type: ignore[attr-defined]
        return called

    def keep(
        self, name: str, signature: inspect.Signature, call: tuple[Any, Any], result: Any,
        known: dict[str, Any],
    ) -> None:  # fmt: skip
        """One call; one that returned no tensor, or took other arguments, is not of our kind."""
        output = result[0] if isinstance(result, tuple) else result
        try:
            given = dict(signature.bind(*call[0], **call[1]).arguments)
        except TypeError:
            return
        if not isinstance(output, Tensor):
            return
        more = next((n for n, p in signature.parameters.items() if p.kind is p.VAR_KEYWORD), "")
        given |= known | given.pop(more, {})
        module = given.pop("module", None) or (self.running[-1][0] if self.running else None)
        if name == "attention":
            given.setdefault("is_causal", getattr(module, "is_causal", True))
        numbers = [n for _, n in self.running if n is not None]
        layer = numbers[0] if numbers else int(getattr(module, "layer_idx", None) or 0)
        path = "" if module is None else self.paths.get(module, "")
        copies = {n: _copy(n, value) for n, value in given.items()}
        self.recording.calls.append(Call(layer, path, name, copies, _copy("", output)))


def _copy(name: str, value: Any) -> Any:
    """What a layer may write into later is copied; a mask, which all layers share, is not."""
    if not isinstance(value, Tensor):
        return value
    return value.detach() if name == "attention_mask" else value.detach().clone()


class _Door:
    """transformers' AttentionInterface, whose functions are recorded."""

    def __init__(self, original: Any, ear: _Ear) -> None:
        self._original, self._ear = original, ear

    def get_interface(self, name: str, default: Callable[..., Any]) -> Callable[..., Any]:
        """The function of a name, as transformers asks for it."""
        found = self._original.get_interface(name, default)
        return self._ear.wrapped(found, "attention", eager=found is default)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._ear.wrapped(self._original[name], "attention", eager=False)

    def __contains__(self, name: object) -> bool:
        return name in self._original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def recorded(model: nn.Module, run: Callable[[], Any]) -> Recording:
    """Run it, without gradients and in evaluation mode, and keep what the model's layers call.

    Args:
        model: of transformers.
        run: calls the model.

    Raises:
        What the model raises; it is then as it was before.

    Cost: that of the call, and a copy of the arguments of each function.
    """
    paths = {module: path for path, module in model.named_modules()}
    ear = _Ear(Recording(), paths)
    with _alone, ExitStack() as held:
        held.enter_context(quietly(model))
        if any(module._compiled_call_impl is not None for module in model.modules()):
            held.enter_context(torch.compiler.set_stance("force_eager"))
        held.enter_context(_hooked(model, ear))
        for module in _modules(model):
            held.enter_context(_replaced(module, _wrappers(module, ear)))
        run()
    return ear.recording


@contextmanager
def _hooked(model: nn.Module, ear: _Ear) -> Iterator[None]:
    """Hooks on the entries of lists of layers, and on the modules that call functions of `seam`."""
    heard: list[tuple[nn.Module, int | None]] = [(one, None) for _, one, *_ in seam.calling(model)]
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            heard += [(child, number) for number, child in enumerate(module)]
    handles: list[Any] = []
    try:
        for module, number in heard:
            handles.append(module.register_forward_pre_hook(ear.enter(number)))
            handles.append(module.register_forward_hook(ear.leave, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _modules(model: nn.Module) -> list[ModuleType]:
    """The modules of Python in which the classes of the model's modules are defined."""
    names = {base.__module__ for one in model.modules() for base in type(one).__mro__}
    named = sorted(n for n in names if n.partition(".")[0] not in ("torch", "builtins"))
    return [sys.modules[name] for name in named if name in sys.modules]


def _wrappers(module: ModuleType, ear: _Ear) -> dict[str, Any]:
    """What stands in a module while the recording is made."""
    found: dict[str, Any] = {}
    for place, name in seam.originals(module).items():
        if name in WHOLE:
            found[place] = in_parts
        elif name in OURS:
            found[place] = ear.wrapped(getattr(module, place), name)
    if hasattr(module, DOOR):
        found[DOOR] = _Door(getattr(module, DOOR), ear)
        if hasattr(module, EAGER):
            found[EAGER] = ear.wrapped(getattr(module, EAGER), "attention", eager=True)
    return found


@contextmanager
def _replaced(module: ModuleType, wrappers: dict[str, Any]) -> Iterator[None]:
    """These names of a module; at the end what stood there, unless somebody else changed it."""
    before = {place: getattr(module, place) for place in wrappers}
    try:
        for place, wrapper in wrappers.items():
            setattr(module, place, wrapper)
        yield
    finally:
        for place, wrapper in wrappers.items():
            if vars(module).get(place) is wrapper:
                setattr(module, place, before[place])
