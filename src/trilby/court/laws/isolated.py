"""Law 4: a row does not depend on its neighbours in the batch."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from ..finding import Finding, compare, exactly, logic, rounding
from ..nest import leaves
from ..subject import Sequences, Subject, row, spliced
from ..sweep import Setting

MAGNITUDES = (1.0, 2.0**12)


def isolated(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """A row is the same, bit for bit, whatever its neighbours are, and the same alone (float64).

    The rows of the state are neighbours too, those that go in and those that come out.
    """
    for state in (None, subject.past(setting)):
        yield from _rewritten(subject, setting, state)
        yield from _alone(subject, replace(setting, dtype=torch.float64), state)


def _rewritten(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    sequences = subject.draw(setting)
    before = subject.run(sequences, state)
    still = not compare("", leaves(subject.run(sequences, state)), leaves(before), exactly).broken
    for number, size in enumerate(MAGNITUDES):
        again = setting.again(number)
        fresh = tuple(x * size if x.is_floating_point() else x for x in subject.draw(again))
        other = None if state is None else subject.past(again)
        for b in range(setting.B):
            neighbours = spliced(sequences, fresh, b), spliced(state, other, b)
            after = subject.run(*neighbours)
            than = f", as before its neighbours were rewritten (row {b})"
            allow = exactly if still else rounding
            yield compare("neighbour", _row(after, b), _row(before, b), allow, than)


def _alone(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    sequences: Sequences = subject.draw(setting)
    together = subject.run(sequences, state)
    for b in range(setting.B):
        alone = subject.leaves(row(sequences, b), row(state, b))
        than = f", as alone (row {b} of {setting.B})"
        yield compare("batch", _row(together, b), alone, logic, than)


def _row(result: Any, b: int) -> Any:
    return leaves(row(result, b))
