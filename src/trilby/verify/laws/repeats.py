"""Law 1: the same call twice gives the same result, also after another call in between."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from ..comparing.finding import Finding, compare, exactly, rounding
from ..copies.nested import clone, copied, leaves
from ..process import seed
from ..sizes import Setting
from ..subjects.subject import Sequences, Subject


def repeats(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Equal calls have equal results, no result is overwritten later, no argument is changed.

    Random numbers are not pinned between the calls, except for a module in train mode: there is
    no use for them. What a call leaves behind in a module is not cleared between the calls. What
    remains is the noise floor, and it may be no more than eight units of rounding.
    """
    sequences = subject.draw(setting)
    for state in subject.pasts(setting):
        yield from _thrice(subject, setting, sequences, state)
    if subject.mask is not None:
        yield _mask_kept(subject, setting, sequences)


def _mask_kept(subject: Subject, setting: Setting, sequences: Sequences) -> Finding:
    """A padding mask is as it was after the call."""
    mask = torch.ones(setting.B, setting.T, dtype=subject.mask)
    mask[:, setting.T // 2 + 1 :] = 0
    given = mask.clone()
    subject.padded(lambda _x: given).run(sequences)
    return compare("writes to its arguments", [("mask", given)], [("mask", mask)], exactly)


def _thrice(subject: Subject, setting: Setting, sequences: Sequences, state: Any) -> Any:
    given = clone(sequences), copied(state)
    subject.fresh()
    result = _called(subject, setting, given)
    first = leaves(clone(result))[: None if subject.strict else 1]
    if subject.strict or state is None:
        written = _flat(given), _flat((sequences, state))
        yield compare("writes to its arguments", *written, exactly)
    yield _equal(subject, setting, sequences, state, first, "at once")
    if subject.strict:
        size = Setting(setting.T + 2, setting.B + 1, setting.C, setting.dtype, 5)
        _called(subject, setting, (subject.draw(size), None))
    else:
        _called(subject, setting, (subject.draw(setting.again(5)), None))
    later = leaves(result)[: len(first)]
    yield compare("overwrites its result", later, first, exactly, " after another call")
    yield _equal(subject, setting, sequences, state, first, "after another call")


def _called(subject: Subject, setting: Setting, given: Any) -> Any:
    """One call, whatever calls before it left behind."""
    if setting.mode == "train":
        seed()
    with torch.no_grad(), subject.within():
        return subject.call(*given)


def _equal(
    subject: Subject, setting: Setting, sequences: Sequences, state: Any, first: Any, when: str
) -> Finding:
    given = clone(sequences), copied(state)
    again = leaves(clone(_called(subject, setting, given)))[: len(first)]
    found = compare("remembers", again, first, rounding, f" as before, {when}")
    if not found.broken:
        return found
    if subject.draws(setting):
        still = not _unsteady(subject, sequences, state, len(first))
        told = "; with its random numbers pinned it repeats" if still else ""
        return replace(found, kind="random", text=found.text + told)
    if not subject.strict and _unsteady(subject, sequences, state, len(first)):
        told = "; it differs from call to call, whatever the seed"
        return replace(found, kind="random", text=found.text + told)
    return found


def _unsteady(subject: Subject, sequences: Sequences, state: Any, count: int) -> bool:
    """Whether calls differ although nothing is left behind and the seeds are the same."""
    one, two = (subject.leaves(sequences, state)[:count] for _ in range(2))
    return compare("", one, two, rounding).broken


def _flat(given: tuple[Sequences, Any]) -> list[tuple[str, Any]]:
    sequences, state = given
    named = [(f"argument {i}", x) for i, x in enumerate(sequences)]
    return [*named, *leaves((None, state))[1:]]
