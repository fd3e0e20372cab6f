"""`accelerate`, `accelerated` and `restore`."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import CallError
from . import hooks, seam
from .functions import OURS
from .proof import apart, proven
from .report import Layer, Report


def accelerate(model: nn.Module) -> Report:
    """Put trilby's functions where the layers of a transformers model call references.

    Args:
        model: a model of transformers, or a module that holds one (an adapter of PEFT, say).

    Returns:
        The report: which layers now run what, what was left and why. Each layer is proven by a
        call of two tokens, and one more from the cache; a report is true where that was seen.
        Whether two packed sequences are kept apart is seen in two calls of four tokens.

    Raises:
        CallError: model is no module, or transformers is too old.

    Cost: four small forward calls. Done twice it is as done once.
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
    hooks.around(model, [path for path, *_ in found], {module for _, _, module, _ in found})
    seen, why = proven(model, [(path, layer) for path, layer, _, _ in found])
    packed = None if why else apart(model)
    return Report(name, tuple(_layer(*one, seen) for one in found), why, packed)


def restore(model: nn.Module) -> None:
    """Put transformers' own functions back, unless another accelerated model still needs ours.

    Raises:
        CallError: the model is not accelerated.
    """
    if not isinstance(model, nn.Module) or hooks.of(model) is None:
        raise CallError("restore: this model is not accelerated; accelerate(model) does that")
    hooks.away(model)


@contextmanager
def accelerated(model: nn.Module) -> Iterator[Report]:
    """`accelerate` at the beginning, `restore` at the end, also after an exception."""
    report = accelerate(model)
    try:
        yield report
    finally:
        if hooks.of(model) is not None:
            restore(model)


def _layer(
    path: str, layer: nn.Module, _: ModuleType, names: tuple[str, ...], seen: dict[str, Any]
) -> Layer:
    ours = tuple(n for n in names if n in OURS)
    left = {n: "trilby has no such function" for n in names if n not in OURS}
    return Layer(path, type(layer).__name__, ours, left, tuple(n for n in ours if seen[path][n]))
