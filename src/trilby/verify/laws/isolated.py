"""Law 4: a row does not depend on its neighbours in the batch."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..comparing.change import change, rounded
from ..comparing.finding import Finding, compare, exactly, rounding
from ..copies.nested import leaves
from ..sizes import Setting
from ..subjects.subject import Sequences, Subject, row, scaled, spliced

MAGNITUDES = (1.0, 2.0**12)


def isolated(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """A row is the same, bit for bit, whatever its neighbours are, and the same alone (float64).

    The rows of the state are neighbours too, those that go in and those that come out. In anyone's
    module a change that is no more than rounding in every dtype is a note.
    """
    if not subject.strict:
        yield from _neighbours(subject, setting)
        exact, wide = subject.exact(setting)
        if not exact.draws(wide):
            yield from _alone(exact, wide, None)
        return
    wide = replace(setting, dtype=torch.float64)
    for state, exact in zip(subject.pasts(setting), subject.pasts(wide), strict=True):
        yield from _rewritten(subject, setting, state)
        yield from _alone(subject, wide, exact)


def _rewritten(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    sequences = subject.draw(setting)
    before = subject.run(sequences, state)
    still = not compare("", leaves(subject.run(sequences, state)), leaves(before), exactly).broken
    for number, size in enumerate(MAGNITUDES):
        again = setting.again(number)
        fresh = scaled(subject.draw(again), size)
        other = None if state is None else subject.past(again)
        for b in range(setting.B):
            neighbours = spliced(sequences, fresh, b), spliced(state, other, b)
            after = subject.run(*neighbours)
            than = f", as before its neighbours were rewritten (row {b})"
            allow = exactly if still else rounding
            yield compare("neighbour", _row(after, b), _row(before, b), allow, than)


def _neighbours(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """A module's rows: what changes is a neighbour's doing, or rounding."""
    sequences = subject.draw(setting)
    before: Tensor = subject.run(sequences)[0]
    for number, size in enumerate(MAGNITUDES):
        fresh = scaled(subject.draw(setting.again(number)), size)
        for b in range(setting.B):
            after: Tensor = subject.run(spliced(sequences, fresh, b))[0]
            moved = change(after, before, after[b : b + 1], before[b : b + 1], size)
            if moved.size and moved.small and not moved.tainted:
                yield Finding("neighbour", note=rounded("its neighbours"), units=moved.units)
            elif moved.size and not moved.tainted:
                than = f", as before its neighbours were rewritten (row {b})"
                named = [("y", after[b : b + 1])], [("y", before[b : b + 1])]
                yield compare("neighbour", *named, exactly, than)
            else:
                yield Finding("neighbour")


def _alone(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    sequences: Sequences = subject.draw(setting)
    together = subject.run(sequences, state)
    for b in range(setting.B):
        try:
            alone = subject.leaves(row(sequences, b), row(state, b))
        except Exception as error:
            if subject.strict:
                raise
            yield Finding("batch", note=f"it does not take a row alone, {type(error).__name__}")
            return
        than = f", as alone (row {b} of {setting.B})"
        if subject.strict:
            yield compare("batch", _row(together, b), alone, subject.logic, than)
        else:
            yield compare("batch", _row(together[0], b), alone[:1], subject.logic, than)


def _row(result: Any, b: int) -> Any:
    return leaves(row(result, b))
