"""Law 1: the same call twice gives the same result, also after another call in between."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..finding import Finding, compare, exactly, rounding
from ..nest import clone, leaves
from ..subject import Sequences, Subject, repin
from ..sweep import Setting


def repeats(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Equal calls have equal results, no result is overwritten later, no argument is changed.

    Random numbers are not pinned between the calls: a form has no use for them. What is left is
    the noise floor, and it may be no more than eight units of rounding.
    """
    sequences = subject.draw(setting)
    for state in (None, subject.past(setting)):
        yield from _thrice(subject, setting, sequences, state)


def _thrice(subject: Subject, setting: Setting, sequences: Sequences, state: Any) -> Any:
    given = clone((sequences, state))
    with torch.no_grad():
        result = subject.call(*given)
    first = leaves(clone(result))
    untouched = compare("writes to its arguments", _flat(given), _flat((sequences, state)), exactly)
    yield untouched
    yield _equal(subject, sequences, state, first, "at once")
    subject.run(subject.draw(Setting(setting.T + 2, setting.B + 1, setting.C, setting.dtype, 5)))
    yield compare("overwrites its result", leaves(result), first, exactly, " after another call")
    yield _equal(subject, sequences, state, first, "after another call")


def _equal(subject: Subject, sequences: Sequences, state: Any, first: Any, when: str) -> Finding:
    given = clone((sequences, state))
    with torch.no_grad():
        again = leaves(clone(subject.call(*given)))
    found = compare("remembers", again, first, rounding, f" as before, {when}")
    if not found.broken:
        return found
    if _draws(subject, sequences, state):
        return replace(found, kind="random")
    return found


def _draws(subject: Subject, sequences: Sequences, state: Any) -> bool:
    """Whether a call uses random numbers of torch, numpy or Python."""
    repin()
    before = _generators()
    with torch.no_grad():
        subject.call(*clone((sequences, state)))
    return _generators() != before


def _generators() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


def _flat(given: tuple[Sequences, Any]) -> list[tuple[str, Any]]:
    sequences, state = given
    named = [(f"argument {i}", x) for i, x in enumerate(sequences)]
    return [*named, *leaves((None, state))[1:]]
