"""Law 3: the whole equals piece after piece, joined by the state."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..comparing.finding import Finding, compare
from ..copies.nested import leaves, replaced
from ..reproducers.script import Script
from ..sizes import Setting, pieces
from ..subjects.subject import Sequences, Subject
from ..subjects.user_module import UserModule
from ..wording import first_line, joined_lines
from .edited import edited, edited_lines
from .law import Law
from .mixer_sizes import in_float64
from .module_sizes import LENGTHS, WIDE, at_lengths, in_modes, own

EMPTIED, LEFT = "an emptied state", "state not emptied"
FAR = 2**24  # where a float32 counter stops counting


def resumes(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """One call equals several joined by the state, in float64: outputs and every leaf of the state.

    From nothing, from a past, and from a long past, whose counters (the integers of the state)
    are near 2^24. Integers must be equal. Of a user's module only the outputs are compared, from
    nothing and after another stream: what its cache holds is its own affair. A cache that can be
    cropped, or whose rows can be chosen, continues as one that was made so.
    """
    subject, setting = subject.exact(setting)
    setting = replace(setting, T=setting.T - setting.T % subject.multiple)
    sequences = subject.draw(setting)
    for (state, first), name in _starts(subject, setting) if setting.T else ():
        whole = subject.compared(subject.leaves(sequences, state))
        for lengths in _cut(subject, setting.T):
            than = f", as it is in one call; from {name}, in pieces {_spelled(lengths)}"
            try:
                parts = subject.compared(leaves(subject.joined(sequences, first, lengths)))
            except Exception as error:
                found = _raised(subject, setting, error, lengths)
                yield found
                if found.broken or subject.is_limit(setting):
                    return
                continue
            found = compare("state", parts, whole, subject.logic, than)
            found = found.at(start=name, pieces=lengths)
            if found.broken:
                cause = _cause if subject.state_is_contract else _observed
                kind = LEFT if name == EMPTIED else cause(subject, setting, lengths)
                yield replace(found, kind=kind)
            yield found
    if not subject.state_is_contract:
        yield from edited(subject, setting)


def _cut(subject: Subject, T: int) -> list[tuple[int, ...]]:
    """The lengths of pieces: only those that it is said to take, and some that it must take."""
    m, grid = subject.multiple, subject.grid
    every = [tuple(n * m for n in lengths) for lengths in pieces(T // m)]
    if grid > 1 and T % grid == 0:
        every += [tuple(n * grid for n in lengths) for lengths in pieces(T // grid)]
    return [c for c in dict.fromkeys(every) if subject.must_accept_every_call or 0 not in c]


def _raised(
    subject: Subject, setting: Setting, error: Exception, lengths: tuple[int, ...]
) -> Finding:
    """What to say of a stream that raises: a limit, or a fault and which option may be missing."""
    if subject.must_accept_every_call:
        raise error
    if subject.is_limit(setting):
        return Finding("state", note=beyond(setting, error))
    refused = next((n for n in sorted({*lengths}) if not _takes(subject, setting, n)), None)
    if refused is not None:
        return Finding("state", note=f"it takes no {refused} positions, in one call or in a piece")
    name, text, hint = type(error).__name__, joined_lines(error, 200), ""
    for words, other in subject.other_ways:
        with suppress(Exception):
            sequences = subject.draw(setting)
            parts, whole = other.joined(sequences, None, lengths)[0], subject.run(sequences)[0]
            if not compare("", [("y", parts)], [("y", whole)], subject.logic).broken:
                hint = f"; with {words} it does not, if that is how it is meant"
    found = Finding("raises", True, place=name, text=f"{name}: {text}{hint}")
    return found.at(pieces=lengths, error=name, message=text)


def _takes(subject: Subject, setting: Setting, n: int) -> bool:
    try:
        subject.run(subject.draw(replace(setting, T=n)))
    except Exception:
        return False
    return True


def beyond(setting: Setting, error: Exception) -> str:
    """What to say of a stream that is longer than the subject takes."""
    return f"it does not take {setting.T} positions in pieces, it raises {first_line(error)}"


def _starts(subject: Subject, setting: Setting) -> list[tuple[tuple[Any, Any], str]]:
    """What one call starts from, what a stream starts from, and what they are called."""
    nothing, *pasts = subject.contract_states(setting)
    found: list[tuple[tuple[Any, Any], str]] = [((nothing, nothing), "nothing")]
    for past in pasts:
        far = replaced(past, lambda t: t if t.is_floating_point() else t + FAR - 2)
        found += [((past, past), "a state"), ((far, far), "a long past")]
    with suppress(Exception):  # a stream that raises is found without it
        if (again := subject.emptied(setting)) is not None:
            found.append(((nothing, again), EMPTIED))
    return found


def _cause(subject: Subject, setting: Setting, _lengths: tuple[int, ...]) -> str:
    """What became of the state, by what a call makes of one."""
    sequences, past = subject.draw(setting), subject.past(setting)
    with_it, after = subject.run(sequences, past)
    without, _ = subject.run(sequences, None)
    if _alike(subject, with_it, without):
        return "state lost"
    stale = not compare("", leaves((None, after)), leaves((None, past)), subject.logic).broken
    return "state stale" if stale else "state wrong"


def _observed(subject: Subject, setting: Setting, lengths: tuple[int, ...]) -> str:
    """The cause, inferred from the outputs, because a cache cannot be inspected.

    Three pieces of the lengths that failed are run. The output of the third is compared with its
    output without any past, with the past of the first piece only, and with a piece that was run
    twice. It is stale only if it also equals the right result after the first piece alone: a query
    that is aligned with the wrong end of its keys does not see the second piece either.
    """
    n = max(lengths[-1], 1) if len(set(lengths)) > 1 else lengths[0]
    parts = [subject.draw(replace(setting, T=m, seed=setting.seed + i))
             for i, m in enumerate((max(lengths[0], 2), n, n), 1)]  # fmt: skip
    a, b, c = parts
    try:
        if _unmoved(subject, a, b):
            return "state stale"
        after = _last(subject, [a, b, c])
        if _alike(subject, after, _last(subject, [c])):
            return "state lost"
        tail = c[0].shape[1]
        right = subject.run(_glued([a, c]))[0][:, -tail:]
        if all(_alike(subject, after, y) for y in (_last(subject, [a, c]), right)):
            return "state stale"
        each = [tuple(x.repeat_interleave(2, 1) for x in p) for p in (a, b)]
        twice = ([a, b, b, c], [a, a, b, c], [a, a, b, b, c], [*each, c])
        wholes = [subject.run(_glued(sequences))[0][:, -tail:] for sequences in twice]
        return "state double" if any(_alike(subject, after, w) for w in wholes) else "state wrong"
    except Exception:
        return "state wrong"  # a module that takes no such lengths; the text has the numbers


def _unmoved(subject: Subject, a: Sequences, b: Sequences) -> bool:
    """Whether the state after two pieces is that after one, if it is tensors at all."""
    states = []
    for parts in ([a], [a, b]):
        lengths = tuple(p[0].shape[1] for p in parts)
        states.append(leaves((None, subject.joined(_glued(parts), None, lengths)[1]))[1:])
    if not all(isinstance(t, Tensor) for _, t in states[0]) or not states[0]:
        return False
    return not compare("", states[0], states[1], subject.logic).broken


def _last(subject: Subject, parts: list[Sequences]) -> Tensor:
    """What the last of several pieces gives."""
    lengths = tuple(p[0].shape[1] for p in parts)
    y, _ = subject.joined(_glued(parts), None, lengths)
    return y[:, -lengths[-1] :]


def _glued(parts: list[Sequences]) -> Sequences:
    return tuple(torch.cat(xs, 1) for xs in zip(*parts, strict=True))


def _alike(subject: Subject, a: Tensor, b: Tensor) -> bool:
    return not compare("", [("y", a)], [("y", b)], subject.logic).broken


def _spelled(lengths: tuple[int, ...]) -> str:
    """`1 1 1`, or `64 x 2 + 2`."""
    if len(lengths) <= 4:
        return " ".join(map(str, lengths))
    rest = lengths[-1]
    return f"{lengths[0]} x {len(lengths) - 1} + {rest}"


LONGER = {"quick": (66,), "default": (66, 130), "thorough": (66, 130, 300)}


def _module_settings(effort: str, user: UserModule) -> list[Setting]:
    lengths = LENGTHS[effort] if effort == "quick" else (*LENGTHS[effort], *LONGER[effort])
    first = replace(own(user), dtype=WIDE)
    m = 1 if user.example.carry is None else user.example.carry.multiple
    blocks = [replace(first, T=k * m) for k in (2, 3, 5) if m > 1]
    redrawn = [replace(s, dtype=WIDE) for s in in_modes(effort, user, "redrawn")]
    return [first, *blocks, *at_lengths(user, lengths, dtype=WIDE), *redrawn]


def _reproduce(script: Script) -> list[str]:
    """Whole, and piece after piece."""
    if script.witness.edit:
        return edited_lines(script)
    print_ = "print((a - torch.cat(parts, 1)).abs().max())  # rounding, if it resumes"
    again = 2 if script.witness.start == EMPTIED else 1
    stream = script.stream(script.witness.pieces or (1,) * script.setting.T) * again
    return [*script.carry.before, f"a = {script.call()}", *stream, print_]


_LENGTHS = {"default": (1, 2, 3, 4, 5, 8, 9, 17, 63, 64, 65, 129)}
LAW = Law("resumes", resumes, in_float64(_LENGTHS), _module_settings, _reproduce)
