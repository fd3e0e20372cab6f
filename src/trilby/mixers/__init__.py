"""The rooms, in reading order. Explicit on purpose: no registration by import."""

from ..card import Mixer
from . import mean

MIXERS: dict[str, Mixer] = {room.MIXER.name: room.MIXER for room in (mean,)}
