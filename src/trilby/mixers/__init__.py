"""The rooms, in reading order. Explicit on purpose: no registration by import."""

from types import ModuleType

from ..card import Mixer
from . import decay, mean

_ROOMS = (mean, decay)

MIXERS: dict[str, Mixer] = {room.MIXER.name: room.MIXER for room in _ROOMS}


def room(name: str) -> ModuleType:
    """The module of a mixer, whose docstring is its definition and its contract.

    >>> room("mean").__name__
    'trilby.mixers.mean'
    """
    return next(room for room in _ROOMS if room.MIXER.name == name)
