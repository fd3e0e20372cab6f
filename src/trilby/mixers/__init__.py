"""The mixers, in reading order. Explicit on purpose: no registration by import."""

from types import ModuleType
from typing import Any

from ..card import Mixer
from . import decay, ema, mean

_ROOMS = (mean, decay, ema)

MIXERS: dict[str, Mixer[..., Any]] = {room.MIXER.name: room.MIXER for room in _ROOMS}


def room(name: str) -> ModuleType:
    """The module of a mixer, whose docstring is its definition and its contract.

    >>> room("mean").__name__
    'trilby.mixers.mean'
    """
    return next(room for room in _ROOMS if room.MIXER.name == name)
