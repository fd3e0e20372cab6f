"""Rewriting a part of the input, and gradients of single positions: how a leak is seen."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..comparing.change import Change, change, rounded
from ..comparing.finding import Finding
from ..comparing.witness import Witness
from ..copies.nested import clone
from ..sizes import Setting
from ..subjects.subject import Subject, scaled
from .backward import pulled, taped

ONLY_NAN = "what is not finite in the future reaches the past (0 x NaN), no finite value does"


@dataclass(frozen=True)
class Rewrite:
    """One way to rewrite positions: which rows, with which fresh values, of which magnitude."""

    subject: Subject
    setting: Setting
    state: Any
    rows: tuple[int, ...]
    number: int
    size: float

    def after(self, positions: range) -> Tensor:
        """The result with some positions rewritten."""
        mixed = clone(self.subject.draw(self.setting))
        other = scaled(self.subject.draw(self.setting.again(self.number)), self.size)
        place = slice(positions.start, positions.stop)
        for x, fresh in zip(mixed, other, strict=True):
            for b in self.rows:
                x[b, place] = fresh[b, place]
        y: Tensor = self.subject.run(mixed, self.state)[0]
        return y

    def found(self, y: Tensor, future: range, floor: float) -> Finding:
        """The element that changed most, and the one position that changes it if there is one."""
        t = future.start - self.subject.lookahead  # how many outputs must stay as they are
        known = self._change(future, t, y)
        if self.subject.is_only_nan(known):
            return Finding("leak", note=ONLY_NAN)
        if self.subject.is_rounding(known):
            return Finding("leak", note=rounded("later positions"), units=known.units)
        spots = future
        while half := self._half(spots, t, y, floor):
            spots, known = half
        return self._leak(known, spots, floor)

    def _half(self, spots: range, t: int, y: Tensor, floor: float) -> tuple[range, Change] | None:
        """The half of the positions that changes anything, if there is one."""
        middle = len(spots) // 2
        for part in (spots[:middle], spots[middle:]) if middle else ():
            with suppress(Exception):  # it refuses what half of the positions make of its input
                less = self._change(part, t, y)
                if less.size > 4 * floor and not self.subject.is_rounding(less):
                    return part, less
        return None

    def _leak(self, known: Change, spots: range, floor: float) -> Finding:
        """The finding that an earlier position changed with those of `spots`."""
        position = known.index[1] if len(known.index) > 1 else 0
        kind, names = self._kind(position, spots), self.subject.names
        witness = Witness(
            row=known.row,
            position=position,
            reads=(spots[0], spots[-1] + 1),
            sequence=names[0] if len(names) == 1 else f"({', '.join(names)})",
        )
        where = f"{spots[0]}" if len(spots) == 1 else f"{spots[0]}:{spots[-1] + 1}"
        text = f"reads {witness.sequence}[{known.row}, {where}]  change {known.size:.2g}"
        text += beyond(self.subject)
        text += ", no gradient shows it" if kind == "leak without gradient" else ""
        place, broken = f"y{known.index[:2]}", known.size > 4 * floor
        return Finding(kind, broken, known.size, 4 * floor, place, text, witness=witness)

    def _change(self, spots: range, t: int, y: Tensor) -> Change:
        after = self.after(spots)
        return change(after, y, after[:, :t], y[:, :t], self.size)

    def _kind(self, position: int, spots: range) -> str:
        """Whether a gradient of that output shows the leak too, and whether parameters hid it."""
        if self.setting.mode == "redrawn":
            return "hidden leak"
        try:
            past = self.state is not None
            grads = [*gradients(self.subject, self.setting, past, [position + 1])]
        except Exception:
            return "leak"  # its backward raises, so the gradient is not known
        known = [g[:, spots.start : spots.stop] for _, _, _, g in grads]
        shows = any(bool(g.nan_to_num(0).count_nonzero()) for g in known)
        return "leak" if shows or not known else "leak without gradient"


def beyond(subject: Subject) -> str:
    """What a sentence says of a position that is read, where some later ones may be."""
    return f", beyond its lookahead of {subject.lookahead}" if subject.lookahead else ""


def gradients(
    subject: Subject, setting: Setting, past: bool, at: list[int]
) -> Iterator[tuple[int, str, float, Tensor]]:
    """(cut, sequence, largest gradient, gradient of y[:, cut - 1] to that sequence).

    Tokens have no gradient; what an embedding makes of them has.
    """
    subject, setting = subject.recorded(setting)
    y, named = taped(subject, subject.draw(setting), subject.past(setting) if past else None)
    if not isinstance(y, Tensor) or not named:
        return
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = weights.to(y.dtype).to(y.device) * y
    for t in at:
        grads = pulled(subject, y[:, t - 1], [x for _, x in named])
        for (name, _), known in zip(named, grads, strict=True):
            yield t, name, float(known.abs().nan_to_num(0, 0, 0).max()), known
