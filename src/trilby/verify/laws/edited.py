"""A cache that is cropped, or whose rows are chosen anew: part of the law `resumes`.

Only where the class of the cache has the method: `crop(n)`, as for speculative decoding;
`reorder_cache(rows)` and `batch_select_indices(rows)`, as for beam search;
`batch_repeat_interleave(n)`, as for several continuations of one prompt.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...streaming import Loop
from ...streaming.carry import Begun
from ..comparing.finding import Finding, compare
from ..copies.nested import copied
from ..reproducers.script import Script
from ..sizes import Setting
from ..subjects.subject import Sequences, Subject
from ..wording import first_line

CROP, ROWS = "crop wrong", "rows wrong"
LONGEST = 33  # positions, beyond which caches are not edited


@dataclass(frozen=True)
class Edit:
    """A method of a cache, and what it makes of the past.

    Attributes:
        method, given: the method and its argument; a list of rows becomes a tensor.
        rows: the rows that the cache has afterwards.
        kind: what is wrong if it does something else.
    """

    method: str
    given: Any
    rows: list[int]
    kind: str

    @property
    def said(self) -> str:
        """The call, as Python."""
        rows = isinstance(self.given, list)
        return f"{self.method}({f'torch.tensor({self.given})' if rows else self.given})"

    def does(self, past: Any, like: Tensor) -> Any:
        """The cache afterwards: what the method returns, if it returns one, else the same."""
        rows = isinstance(self.given, list)
        given = torch.tensor(self.given, device=like.device) if rows else self.given
        returned = getattr(past, self.method)(given)
        return past if returned is None else returned


def edits(B: int, keep: int) -> list[Edit]:
    """A crop to `keep` positions, and rows that are turned, doubled and left out.

    >>> [edit.said for edit in edits(2, 4)][:3]
    ['crop(4)', 'reorder_cache(torch.tensor([1, 0]))', 'reorder_cache(torch.tensor([1, 1]))']
    """
    every = list(range(B))
    turned, doubled, last = [*every[1:], 0], [B - 1, *every[2:], B - 1], [B - 1]
    several = [("reorder_cache", turned), ("reorder_cache", doubled),
               ("batch_select_indices", last), ("batch_select_indices", turned)]  # fmt: skip
    return [
        Edit("crop", keep, every, CROP),
        *(Edit(name, rows, rows, ROWS) for name, rows in several if B > 1),
        Edit("batch_repeat_interleave", 2, [b for b in every for _ in range(2)], ROWS),
    ]


def edited(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """A cache after an edit is as one that was never edited: compared by what continues from it.

    Both streams are cut alike, so that nothing else is different in them.
    """
    unit = subject.multiple * subject.grid
    if setting.T % unit or not 3 * unit <= setting.T <= LONGEST * unit:
        return
    keep = setting.T // unit // 2 * unit
    drawn = subject.draw(setting), subject.draw(setting.again(7))
    for edit in edits(setting.B, keep):
        lengths = _ended(setting.T if edit.kind == CROP else keep, unit)
        try:
            past = _past(subject, drawn[0], lengths)
        except Exception:
            return  # a stream that raises is a fault of its own
        if callable(getattr(_cache(past), edit.method, None)):
            yield _one(subject, edit, past, drawn, (keep, unit))


def _one(
    subject: Subject, edit: Edit, past: Any, drawn: tuple[Sequences, Sequences],
    places: tuple[int, int],
) -> Finding:  # fmt: skip
    keep, unit = places
    try:
        past = copied(past)
        after = edit.does(_cache(past), drawn[0][0])
        after = Begun(after) if isinstance(past, Begun) else after
    except Exception as error:
        return Finding(edit.kind, note=f"its cache refuses {edit.said}, {first_line(error)}")
    old = tuple(x[torch.tensor(edit.rows)] for x in drawn[0])
    new = tuple(x[torch.arange(len(edit.rows)) % len(x)] for x in drawn[1])
    whole = tuple(torch.cat([a[:, :keep], b[:, keep:]], 1) for a, b in zip(old, new, strict=True))
    first, tail = _ended(keep, unit), _ended(whole[0].shape[1] - keep, unit)
    wanted = subject.joined(whole, None, (*first, *tail))[0][:, keep:]
    got = subject.joined(tuple(x[:, keep:] for x in whole), after, tail)[0]
    than = f", as in a stream that came to it without {edit.said}"
    found = compare(edit.kind, [("y", got)], [("y", wanted)], subject.logic, than)
    return found.at(edit=edit.said, rows=tuple(edit.rows), length=keep)


def _past(subject: Subject, sequences: Sequences, lengths: tuple[int, ...]) -> Any:
    return subject.joined(tuple(x[:, : sum(lengths)] for x in sequences), None, lengths)[1]


def _ended(n: int, unit: int) -> tuple[int, ...]:
    """One piece, and a last one that is as short as can be."""
    return (n - unit, unit) if n > unit else (n,)


def _cache(past: Any) -> Any:
    """The cache in the past of a stream."""
    return past.past if isinstance(past, Begun) else past


def edited_lines(script: Script) -> list[str]:
    """A stream whose cache is edited goes on; and one that comes to the same without that."""
    T, keep, found = script.setting.T, script.witness.length or 1, script.witness
    carry, crop, rows = script.carry, script.kind == CROP, list(found.rows)
    change = (
        script.rewrite(f"[:, {keep}:]") if crop else [f"{n} = {n}[{rows}]" for n in script.names]
    )
    tail = Loop(T, T - keep if not carry.one else 1, keep)
    return [
        *carry.lines(script, Loop(T if crop else keep, keep)),
        f"past = past.{found.edit} or past",
        *change,
        "parts = []",
        *carry.loop(script, tail, ""),
        "got = torch.cat(parts, 1)",
        *carry.opening(script.target, len(rows)),
        *carry.following(script, Loop(T, keep)),
        f"print((got - torch.cat(parts, 1)[:, {keep}:]).abs().max())  # rounding, if {found.edit}",
    ]
