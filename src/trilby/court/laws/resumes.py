"""Law 3: the whole equals piece after piece, joined by the state."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..finding import Finding, compare, logic
from ..nest import leaves, replaced
from ..subject import Sequences, Subject
from ..sweep import Setting, pieces

FAR = 2**24  # where a float32 counter stops counting


def resumes(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """One call equals several joined by the state, in float64: outputs and every leaf of the state.

    From nothing, from a past, and from a long past, whose counters (the integers of the state)
    are near 2^24. Integers must be equal.
    """
    sequences = subject.draw(setting)
    past = subject.past(setting)
    far = replaced(past, lambda t: t if t.is_floating_point() else t + FAR - 2)
    for state, name in ((None, "nothing"), (past, "a state"), (far, "a long past")):
        whole = subject.leaves(sequences, state)
        for lengths in pieces(setting.T):
            parts = leaves(subject.joined(sequences, state, lengths))
            than = f", as it is in one call; from {name}, in pieces {_told(lengths)}"
            found = compare("state", parts, whole, logic, than)
            if found.broken:
                found = replace(found, kind=_cause(subject, sequences, past))
            yield found


def _cause(subject: Subject, sequences: Sequences, past: Any) -> str:
    """What became of the state, by what a call makes of one."""
    with_it, after = subject.run(sequences, past)
    without, _ = subject.run(sequences, None)
    if not compare("", [("y", with_it)], [("y", without)], logic).broken:
        return "state ignored"
    stale = not compare("", leaves((None, after)), leaves((None, past)), logic).broken
    return "state stale" if stale else "state wrong"


def _told(lengths: tuple[int, ...]) -> str:
    """`1 1 1`, or `64 x 2 + 2`."""
    if len(lengths) <= 4:
        return " ".join(map(str, lengths))
    rest = lengths[-1]
    return f"{lengths[0]} x {len(lengths) - 1} + {rest}"
