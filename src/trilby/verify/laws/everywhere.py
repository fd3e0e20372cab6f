"""Every position at once: each row of a larger batch is cut at another position.

A cut t is a number of outputs that must not read x[t + lookahead:]. A batch of T - 1 rows has a row
for each cut, so one call looks at all of them. Rows may depend on
each other in a module that breaks the law `isolated`. So what is seen here is a suspicion, and the
cut is tried again by itself.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..comparing.change import Change, change
from ..copies.nested import clone
from ..sizes import SMALL, Setting
from ..subjects.subject import Sequences, Subject, scaled
from .backward import pulled, taped


def suspects(
    subject: Subject, setting: Setting, state: Any, numbered: list[tuple[int, float]]
) -> Iterator[tuple[int, int, float, Change]]:
    """(cut, number, magnitude, change) of the cuts whose future, when rewritten, moves the past.

    `numbered`: for each way to rewrite, the number of the fresh values and their magnitude. The
    change that is largest comes first. Raises whatever the subject raises at a larger batch.
    """
    at, rows = _places(subject, setting)
    ends = [t + subject.lookahead for t in at]
    wide = _tiled(subject.draw(setting), rows)
    y: Tensor = subject.run(wide, state)[0]
    past = _before(at, y)
    for number, size in numbered:
        fresh = _tiled(scaled(subject.draw(setting.again(number)), size), rows)
        mixed = clone(wide)
        for x, other in zip(mixed, fresh, strict=True):
            future = ~_before(ends, x)
            x.copy_(torch.where(future, other, x))
        after: Tensor = subject.run(mixed, state)[0]
        yield from _moved(after, y, past, at, (number, size))


def _moved(
    after: Tensor, y: Tensor, past: Tensor, at: list[int], way: tuple[int, float]
) -> Iterator[tuple[int, int, float, Change]]:
    number, size = way
    now = torch.where(past, after, y)
    if torch.equal(now, y):
        return
    found = [(t, change(after, y, now[b : b + 1], y[b : b + 1], size)) for b, t in enumerate(at)]
    for t, moved in sorted(found, key=lambda one: -one[1].units):
        if moved.size:
            yield t, number, size, moved


def suspects_by_gradient(subject: Subject, setting: Setting, state: Any) -> list[int]:
    """The cuts of which an output just before has a gradient to the future, by one backward."""
    at, rows = _places(subject, setting)
    y, named = taped(subject, _tiled(subject.draw(setting), rows), state)
    if not isinstance(y, Tensor) or not named:
        return []
    coins = torch.Generator().manual_seed(1)
    ends = torch.stack([y[b, t - 1] for b, t in enumerate(at)])
    weights = torch.randn(ends.shape, generator=coins, dtype=torch.float64)
    grads = pulled(subject, weights.to(ends.dtype).to(ends.device) * ends, [x for _, x in named])
    found = set[int]()
    for grad in grads:
        for b, t in enumerate(at):
            size = grad[b].detach().abs().nan_to_num(0, 0, 0)
            largest = float(size.max()) if size.numel() else 0.0
            later = size[t + subject.lookahead :]
            if later.numel() and float(later.max()) > subject.gradient_noise() * largest:
                found.add(t)
    return sorted(found)


def _places(subject: Subject, setting: Setting) -> tuple[list[int], Tensor]:
    """For each row of the larger batch its cut, and the row of the setting that it repeats.

    Every cut in every row where the sequence is short, else each cut in one of the rows.
    """
    cuts = torch.arange(1, setting.T - subject.lookahead)
    if setting.T <= SMALL:
        rows = torch.arange(setting.B).repeat_interleave(len(cuts))
        return cuts.repeat(setting.B).tolist(), rows
    return cuts.tolist(), torch.arange(len(cuts)) % setting.B


def larger(subject: Subject, setting: Setting) -> Setting:
    """The setting of the larger batch: a row for each cut, or for each cut and row."""
    return replace(setting, B=len(_places(subject, setting)[0]))


def _tiled(sequences: Sequences, rows: Tensor) -> Sequences:
    return tuple(x[rows.to(x.device)] for x in sequences)


def _before(at: list[int], x: Tensor) -> Tensor:
    """Which positions of each row lie before its cut, to be broadcast over [rows, T, ...]."""
    place = torch.arange(x.shape[1]) < torch.tensor(at)[:, None]
    return place.to(x.device).view(*place.shape, *[1] * (x.ndim - 2))
