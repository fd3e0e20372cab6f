"""The mixers, in reading order. Explicit on purpose: no registration by import."""

from types import ModuleType
from typing import Any

from ..card import Mixer
from . import attention, conv, decay, delta, ema, kda, linear, mean, selective, weighted

_MODULES = (mean, decay, ema, weighted, attention, linear, delta, kda, conv, selective)

MIXERS: dict[str, Mixer[..., Any]] = {module.MIXER.name: module.MIXER for module in _MODULES}


def module_of(name: str) -> ModuleType:
    """The module of a mixer, whose docstring is its definition and its contract.

    >>> module_of("mean").__name__
    'trilby.mixers.mean'
    """
    return next(module for module in _MODULES if module.MIXER.name == name)
