"""The forms of a mixer, timed when it is asked for, at lengths of their own."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ..bench import Growth, growth
from ..card import Mixer
from .naming import Named

CHANNELS, HEADS = 64, 16  # of a mixer of one sequence; heads, and numbers of each, of another


def timed(given: Named) -> Growth:
    """Times and memory of every form at lengths from 64 to 4096, in float32, checked first.

    Cost: up to half a minute.
    """
    assert isinstance(given.target, Mixer)
    mixer = given.target
    contract = mixer.contract
    C = CHANNELS if len(contract.own) == 1 else HEADS
    found = contract.named(mixer.drawn(B=1, T=1, C=C, seed=0, dtype=torch.float32))
    rest = {name: value for name, value in given.arguments.items() if name not in found}
    forms = {name: partial(form, **rest) for name, form in mixer.forms.items()}

    def draw(T: int) -> tuple[Any, ...]:
        drawn = contract.named(mixer.drawn(B=1, T=T, C=C, seed=0, dtype=torch.float32))
        return tuple(given.arguments.get(name, value) for name, value in drawn.items())

    return growth(replace(mixer, forms=forms) if rest else mixer, draw)
