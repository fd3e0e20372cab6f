"""A padded prefill that is continued: part of the law `padding`.

Prompts of different lengths are padded at the left or at the right and run in one call; then the
sequences go on token by token, with a mask that grows. Each row equals itself alone, without pads.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ...streaming import Loop
from ..comparing.finding import Finding, compare
from ..reproducers.script import Script
from ..sizes import Setting
from ..subjects.example import signature
from ..subjects.subject import Sequences, Subject
from ..subjects.user_module import POSITIONS
from ..wording import joined_lines
from .pads import SIDES, filled, mask_of, real_lengths

KIND, PIECE = "padding in a stream", "of a piece"
TOKENS = 3  # calls after the prefill
LONGEST = 33  # positions of a prefill and what follows it
Cut = Callable[[Tensor], Callable[[int, int], Tensor]]


def _grown(mask: Tensor) -> Callable[[int, int], Tensor]:
    """The mask of all positions so far, as generation with a cache of keys needs it."""
    return lambda _start, stop: mask[:, :stop]


def _of_the_piece(mask: Tensor) -> Callable[[int, int], Tensor]:
    """The mask of the positions of a call, as a recurrence needs it."""
    return lambda start, stop: mask[:, start:stop]


def continued(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """A stream after a padded prefill, compared with streams of its rows alone.

    Both are streams, so that what a stream gets wrong without pads is for `resumes` to report.
    """
    m = subject.multiple * subject.grid
    prompt = setting.T - min(TOKENS, setting.T // m // 2) * m
    if not subject.streams or not m < prompt < setting.T <= LONGEST * m or setting.T % m:
        return
    lengths = (prompt, *[m] * ((setting.T - prompt) // m))
    sequences = subject.draw(setting)
    try:
        plain = _alone(subject, sequences, lengths)
    except Exception as error:
        yield Finding(KIND, note=f"a stream of {setting.T} positions raises {joined_lines(error)}")
        return
    ones = torch.ones(setting.B, setting.T, dtype=torch.bool)
    cut, found = _convention(subject, sequences, (ones, plain), lengths)
    yield found
    for side in SIDES if cut is not None else ():
        assert cut is not None
        yield from _beside(subject, setting, (side, lengths), cut)


def _alone(subject: Subject, sequences: Sequences, lengths: tuple[int, ...]) -> Tensor:
    """A stream without pads: without a mask, or with a mask of ones where there must be one."""
    if not subject.masked_only:
        y: Tensor = subject.joined(sequences, None, lengths)[0]
        return y
    whole: Tensor = subject.run(sequences)[0]
    return whole


def _convention(
    subject: Subject, sequences: Sequences, known: tuple[Tensor, Tensor], lengths: tuple[int, ...]
) -> tuple[Cut | None, Finding]:
    """How masks are given to calls that continue: as a mask of ones does nothing."""
    ones, plain = known
    problems, wrong = list[str](), list[Finding]()
    than = ", as in a stream without a mask; the mask is all ones"
    for cut in (_grown, _of_the_piece):
        try:
            y = subject.streamed(sequences, lengths, cut(ones))
        except Exception as error:
            problems.append(joined_lines(error))
            continue
        found = compare(KIND, [("y", y)], [("y", plain)], subject.logic, than)
        if not found.broken:
            return cut, found
        if y.shape == plain.shape:
            wrong.append(found.at(mask="all ones", pieces=lengths))
    if wrong:
        return None, wrong[0]
    why = problems[0] if problems else "it returns other shapes"
    return None, Finding(KIND, note=f"no prefill with a mask is continued, {why}")


def _beside(
    subject: Subject, setting: Setting, where: tuple[str, tuple[int, ...]], cut: Cut
) -> Iterator[Finding]:
    """Every row of a batch whose prompts have pads, and the same row alone without them."""
    side, lengths = where
    prompt, B = lengths[0], setting.B
    real = real_lengths(replace(setting, T=prompt))
    mask = torch.ones(B, setting.T, dtype=torch.bool)
    mask[:, :prompt] = mask_of(replace(setting, T=prompt), real, side)
    sequences = subject.draw(setting)
    y = subject.streamed(
        filled(sequences, subject.draw(setting.again(1)), mask), lengths, cut(mask)
    )
    for b, n in enumerate(real):
        mine = tuple(x[b : b + 1, mask[b]].clone() for x in sequences)
        try:
            wanted = _alone(subject, mine, (n, *lengths[1:]))[:, n:]
        except Exception as error:
            note = f"it does not take a row with a prompt of {n} alone, {type(error).__name__}"
            yield Finding(KIND, note=note)
            continue
        than = f", as alone; after a prompt with {prompt - n} pads at the {side}, row {b}"
        got = [("y", y[b : b + 1, prompt:])]
        found = compare(KIND, got, [("y", wanted)], subject.logic, than)
        said = {"mask": PIECE} if cut is _of_the_piece else {}
        yield found.at(row=b, side=side, pads=prompt - n, pieces=lengths, **said)


def continued_lines(script: Script) -> list[str]:
    """A prompt with pads goes on token by token, and so does the same prompt without them."""
    found, B, T, carry = script.witness, script.setting.B, script.setting.T, script.carry
    prompt, pads = found.pieces[0], found.pads or 0
    over, short = Loop(T, prompt, one=True), Loop(T - pads, prompt - pads, one=True)
    where = f":{pads}" if found.side == "left" else f"{prompt - pads}:{prompt}"
    real = lambda x: (
        f"{x} = {x}[:, {pads}:]"
        if found.side == "left"
        else f"{x} = torch.cat([{x}[:, : {prompt - pads}], {x}[:, {prompt}:]], 1)"
    )
    first = "t" if found.mask == PIECE else ""
    given = f"{script.user.padding}=mask[:, {first}:{over.end}]"
    if POSITIONS in signature(script.target):
        counted = f"(mask[:, :{over.end}].long().cumsum(1) - 1).clamp(min=0)"
        given += f", {POSITIONS}={counted}[:, t - {over.end}:]"
    return [
        *carry.before,
        f"mask = {script.ones(B, T)}",
        *([f"mask[:, {where}] = 0"] if pads else []),
        *carry.lines(script, over, given),
        f"got = torch.cat(parts, 1)[:, {prompt}:]",
        *(map(real, script.names) if pads else []),
        *carry.lines(script, short),
        f"print((got - torch.cat(parts, 1)[:, {prompt - pads}:]).abs().max())  # rounding",
    ]
