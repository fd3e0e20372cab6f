"""`accelerate`, `accelerated` and `restore`."""

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from weakref import WeakSet

import torch
from torch import nn

from ..errors import CallError
from . import passing, seam
from .functions import OURS
from .packed import cache_of
from .report import Layer, Report

_users: dict[ModuleType, WeakSet[nn.Module]] = {}  # the models that each module was changed for
_counting: list[Counter[str]] = []  # what the layer that runs now calls, while somebody asks


def accelerate(model: nn.Module) -> Report:
    """Put trilby's functions where the layers of a transformers model call references.

    Args:
        model: a model of transformers, or a module that holds one (an adapter of PEFT, say).

    Returns:
        The report: which layers now run what, what was left and why. Each layer is proven by a
        call of two tokens, and one more from the cache; a report is true where that was seen.

    Raises:
        CallError: model is no module, or transformers is too old.

    Cost: two small forward calls. Done twice it is as done once.
    """
    if not isinstance(model, nn.Module):
        raise CallError(
            f"accelerate: model is {type(model).__name__}, expected a model of transformers, which "
            "is a torch.nn.Module"
        )
    seam.checked()
    found = [*seam.calling(model)]
    name = type(model).__name__
    if not found:
        return Report(name, (), "None of its layers calls a function that trilby has.")
    for module in dict.fromkeys(module for _, _, module, _ in found):
        _put(module)
        _users.setdefault(module, WeakSet()).add(model)
    passing.around(model, [path for path, *_ in found])
    seen, why = _proven(model, [(path, layer) for path, layer, _, _ in found])
    return Report(name, tuple(_layer(*one, seen) for one in found), why)


def restore(model: nn.Module) -> None:
    """Put transformers' own functions back, unless another accelerated model still needs ours.

    Raises:
        CallError: the model is not accelerated.
    """
    if not isinstance(model, nn.Module) or not passing.there(model):
        raise CallError("restore: this model is not accelerated; accelerate(model) does that")
    passing.away(model)
    for module, users in [*_users.items()]:
        users.discard(model)
        if not users:
            seam.put_back(module)
            del _users[module]


@contextmanager
def accelerated(model: nn.Module) -> Iterator[Report]:
    """`accelerate` at the beginning, `restore` at the end, also after an exception."""
    report = accelerate(model)
    try:
        yield report
    finally:
        if passing.there(model):
            restore(model)


def _put(module: ModuleType) -> None:
    there = seam.places(module)
    seam.put(module, {place: _counted(n) for place, n in there.items() if n in OURS})


def _counted(name: str) -> Callable[..., Any]:
    """Ours, which says that it was called while somebody asks."""
    function = OURS[name]

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if _counting:
            _counting[-1][name] += 1
        return function(*args, **kwargs)

    return called


def _layer(
    path: str, layer: nn.Module, _: ModuleType, names: tuple[str, ...], seen: dict[str, Any]
) -> Layer:
    ours = tuple(n for n in names if n in OURS)
    left = {n: "trilby has no such function" for n in names if n not in OURS}
    return Layer(path, type(layer).__name__, ours, left, tuple(n for n in ours if seen[path][n]))


def _proven(
    model: nn.Module, layers: list[tuple[str, nn.Module]]
) -> tuple[dict[str, Counter[str]], str]:
    """What each layer calls in a forward of two tokens and one of a third, and why not if not."""
    seen: dict[str, Counter[str]] = {path: Counter() for path, _ in layers}

    def begin(path: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            _counting[:] = [seen[path]]

        return hook

    hooks = [layer.register_forward_pre_hook(begin(path)) for path, layer in layers]
    training = [module for module in model.modules() if module.training]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()
            _two_tokens(model)
    except Exception as error:  # whatever a model raises, it is said and not hidden
        return seen, f"A call of two tokens raised {type(error).__name__}: {str(error)[:120]}"
    finally:
        _counting.clear()
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True
    return seen, ""


def _two_tokens(model: nn.Module) -> None:
    """A call of two tokens, and where it returns a cache one of the next token."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    two = torch.ones(1, 2, dtype=torch.int64, device=device)
    if past := cache_of(model, model(input_ids=two, use_cache=True)):
        model(input_ids=two[:, :1], use_cache=True, **past)
