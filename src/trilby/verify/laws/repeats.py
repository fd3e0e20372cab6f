"""Law 1: equal calls give equal results."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..comparing.change import change
from ..comparing.finding import Finding, compare, exactly, rounding
from ..copies.nested import Leaves, clone, copied, leaves
from ..process import seed
from ..reproducers.script import Script
from ..sizes import Setting
from ..subjects.subject import Sequences, Subject
from ..subjects.user_module import UserModule
from .law import Law
from .mixer_sizes import every_dtype_and_wide
from .module_sizes import LENGTHS, at_lengths, in_modes, own

NOISE = "equal calls differ at the level of rounding, as atomic additions of a GPU do"


def repeats(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Equal calls have equal results, no result is overwritten later, no argument is changed.

    Random numbers are not pinned between the calls, except for a module in train mode: there is
    no use for them. What a call leaves behind in a module is not cleared between the calls. What
    remains is the noise floor, and it may be no more than eight units of rounding.
    """
    sequences = subject.draw(setting)
    for state in subject.starts(setting):
        yield from _thrice(subject, setting, sequences, state)
    if subject.mask is not None:
        yield _mask_unchanged(subject, setting, sequences)


def _mask_unchanged(subject: Subject, setting: Setting, sequences: Sequences) -> Finding:
    """A padding mask is as it was after the call."""
    mask = torch.ones(setting.B, setting.T, dtype=subject.mask)
    mask[:, setting.T // 2 + 1 :] = 0
    given = mask.clone()
    subject.padded(lambda _x: given).run(sequences)
    return compare("writes to its arguments", [("mask", given)], [("mask", mask)], exactly)


def _thrice(
    subject: Subject, setting: Setting, sequences: Sequences, state: Any
) -> Iterator[Finding]:
    given = clone(sequences), copied(state)
    subject.fresh()
    result = _called(subject, setting, given)
    first = subject.compared(leaves(clone(result)))
    if subject.state_is_contract or state is None:  # a module's cache is made to be written into
        written = _flat(given), _flat((sequences, state))
        yield compare("writes to its arguments", *written, exactly)
    yield _equal(subject, setting, sequences, state, first, "at once")
    other = subject.draw(subject.another_size(setting))
    _called(subject, setting, (other, None))
    later = leaves(result)[: len(first)]
    yield compare("overwrites its result", later, first, exactly, " after another call")
    yield _equal(subject, setting, sequences, state, first, "after another call")


def _called(subject: Subject, setting: Setting, given: Any) -> Any:
    """One call, whatever calls before it left behind."""
    if setting.mode == "train":
        seed()
    with torch.no_grad(), subject.within():
        if given[1] is None:
            subject.ended()
        return subject.call(*given)


def _equal(
    subject: Subject, setting: Setting, sequences: Sequences, state: Any, first: Leaves, when: str
) -> Finding:
    given = clone(sequences), copied(state)
    again = leaves(clone(_called(subject, setting, given)))[: len(first)]
    found = compare("remembers", again, first, rounding, f" as before, {when}")
    if not found.error:
        return found
    noise = _noise(subject, (again, first), (sequences, state))
    if noise is not None or not found.broken:
        return noise or found
    if subject.draws(setting):
        seeded = not _unsteady(subject, sequences, state, len(first))
        more = "; with a fixed seed it repeats" if seeded else ""
        return replace(found, kind="random", text=found.text + more)
    if subject.is_put_back and _unsteady(subject, sequences, state, len(first)):
        more = "; it differs from call to call, whatever the seed"
        return replace(found, kind="random", text=found.text + more)
    return found


def _noise(subject: Subject, twice: tuple[Leaves, Leaves], given: Any) -> Finding | None:
    """A note, if equal calls of a module differ by rounding, and not by what one left behind.

    Atomic additions of a GPU are made in another order each time. What is left behind changes the
    next call in the same way each time; noise does so without it.
    """
    if subject.bit_for_bit or [path for path, _ in twice[0]] != [path for path, _ in twice[1]]:
        return None
    pairs = [(a, b) for (_, a), (_, b) in zip(*twice, strict=True) if not _identical(a, b)]
    if not all(_comparable(a, b) for a, b in pairs):
        return None
    moved = [change(a, b, a, b) for a, b in pairs]
    if not moved or not all(subject.is_rounding(one) for one in moved):
        return None
    one, two = (subject.leaves(*given)[: len(twice[0])] for _ in range(2))
    if not compare("", one, two, exactly).error:
        return None
    return Finding("random", note=NOISE, units=max(one.units for one in moved))


def _identical(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b))


def _comparable(a: Any, b: Any) -> bool:
    tensors = isinstance(a, Tensor) and isinstance(b, Tensor)
    return tensors and a.is_floating_point() and a.shape == b.shape and a.dtype == b.dtype


def _unsteady(subject: Subject, sequences: Sequences, state: Any, count: int) -> bool:
    """Whether calls differ although nothing is left behind and the seeds are the same."""
    one, two = (subject.leaves(sequences, state)[:count] for _ in range(2))
    return compare("", one, two, rounding).broken


def _flat(given: tuple[Sequences, Any]) -> Leaves:
    sequences, state = given
    named = [(f"argument {i}", x) for i, x in enumerate(sequences)]
    return [*named, *leaves((None, state))[1:]]


def _module_settings(effort: str, user: UserModule) -> list[Setting]:
    longest = at_lengths(user, LENGTHS[effort][-1:])
    return [own(user), *in_modes("quick", user, "train"), *longest]


def _reproduce(script: Script) -> list[str]:
    """The same call twice."""
    return [
        f"a, b = {script.call()}, {script.call()}",
        "print((a - b).abs().max())  # 0 if it repeats",
    ]


LAW = Law("repeats", repeats, every_dtype_and_wide, _module_settings, _reproduce)
