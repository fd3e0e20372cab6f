"""What a law is put to: anything that is called with sequences and a state."""

import inspect
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..card import Mixer
from .entitled import Entitled, entitled
from .nest import clone, leaves, numbers, replaced
from .sweep import BLOCK, SMALL, Setting

Sequences = tuple[Tensor, ...]
Leaves = list[tuple[str, Any]]

QUADRATIC = ("loop", "matrix", "softmax")  # forms whose time or memory grows with T^2
STEPWISE = ("loop", "step")  # forms whose graph grows with T
LONG, LONGER = 1030, 5000


@dataclass(frozen=True)
class Subject:
    """A function `call(sequences, state) -> (y, state)`, batch on axis 0 and time on axis 1.

    Attributes:
        name: what a verdict calls it, e.g. "mean.scan".
        call: the function; `state=None` starts from nothing.
        draw: a setting -> valid sequences.
        names: what the sequences are called, e.g. ("q", "k", "v").
        truth: the definition it must agree with; None: there is none, or this is it.
        longest: the largest T that it is asked to run at.
        traced: the largest T that it is asked to be compiled at.
        unable: law -> why it cannot be run on this subject.
    """

    name: str
    call: Callable[[Sequences, Any], tuple[Any, Any]]
    draw: Callable[[Setting], Sequences]
    names: tuple[str, ...]
    truth: "Subject | None" = None
    longest: int = LONGER
    traced: int = 65
    unable: Mapping[str, str] = field(default_factory=dict)

    def run(self, sequences: Sequences, state: Any = None) -> tuple[Any, Any]:
        """One call on copies, from one random state, without gradients."""
        given = clone((sequences, state))
        repin()
        with torch.no_grad():
            return self.call(*given)

    def leaves(self, sequences: Sequences, state: Any = None) -> Leaves:
        """What one call returns, leaf by leaf, as copies."""
        return leaves(clone(self.run(sequences, state)))

    def past(self, setting: Setting) -> Any:
        """A state that three positions left behind, another for each row."""
        before = self.draw(Setting(3, setting.B, setting.C, setting.dtype, setting.seed + 77))
        return clone((self.truth or self).run(before)[1])

    def joined(self, sequences: Sequences, state: Any, lengths: tuple[int, ...]) -> tuple[Any, Any]:
        """Piece after piece, each from the state that the last one left."""
        sequences, state = clone((sequences, state))
        parts = []
        with torch.no_grad():
            for piece in zip(*(x.split(lengths, 1) for x in sequences), strict=True):
                repin()
                y, state = self.call(piece, state)
                parts.append(y)
        return torch.cat(parts, 1), state

    def entitled(self, sequences: Sequences, state: Any = None) -> dict[str, Entitled]:
        """What rounding may do to each leaf of the result."""
        with torch.no_grad():
            return {e.path: e for e in entitled(self.call, (sequences, state), {})}


def forms_of(mixer: Mixer, names: list[str]) -> list[Subject]:
    """The forms of a mixer as subjects, each held against its loop."""
    takes = inspect.signature(mixer.draw).parameters
    letters = [name for name in takes if len(name) == 1 and name not in "BT"]

    def draw(setting: Setting) -> Sequences:
        sizes = dict.fromkeys(letters, setting.C)
        drawn = mixer.draw(
            B=setting.B, T=setting.T, seed=setting.seed, dtype=setting.dtype, **sizes
        )
        scaled = (x * setting.scale if numbers(x) else x for x in drawn)
        return tuple(_turned(x) if setting.turned else x for x in scaled)

    sequences = tuple(inspect.signature(mixer.forms["loop"]).parameters)[:-1]
    unable = dict.fromkeys(("padding", "documents"), "a room takes neither masks nor document ids")

    def subject(name: str, truth: Subject | None, unable: dict[str, str]) -> Subject:
        longest = LONG if name in QUADRATIC else LONGER
        traced = SMALL if name in STEPWISE else BLOCK + 1
        way = f"{mixer.name}.{name}"
        call = _call(mixer.forms[name], way)
        return Subject(way, call, draw, sequences, truth, longest, traced, unable)

    loop = subject("loop", None, {**unable, "agrees": "it is the definition"})
    return [loop if name == "loop" else subject(name, loop, unable) for name in names]


def _turned(x: Tensor) -> Tensor:
    """The same values, time varying fastest in memory."""
    return x.transpose(1, -1).contiguous().transpose(1, -1)


def _call(form: Callable[..., Any], name: str) -> Callable[[Sequences, Any], tuple[Any, Any]]:
    def call(sequences: Sequences, state: Any) -> tuple[Any, Any]:
        return form(*sequences, state)

    call.__name__ = call.__qualname__ = name
    return call


def repin() -> None:
    """The random numbers of torch, numpy and Python from their beginning."""
    torch.default_generator.manual_seed(0)  # torch.manual_seed costs more than most calls here
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)
    random.seed(0)
    np.random.seed(0)


def row(nest: Any, b: int) -> Any:
    """One row of every tensor in a nest, as a batch of one."""
    return replaced(nest, lambda t: t[b : b + 1].clone())


def spliced(nest: Any, other: Any, b: int) -> Any:
    """A nest whose row b is that of `nest` and whose other rows are those of `other`."""
    theirs = iter([t for _, t in leaves(other) if isinstance(t, Tensor)])

    def splice(t: Tensor) -> Tensor:
        mixed = next(theirs).clone()
        mixed[b] = t[b]
        return mixed

    return replaced(nest, splice)
