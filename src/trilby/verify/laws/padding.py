"""Law 4, continued: what stands in for nothing changes nothing, at the left or at the right."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..comparing.change import change, rounded
from ..comparing.finding import Finding, compare
from ..copies.nested import clone
from ..sizes import Setting
from ..subjects.subject import Sequences, Subject, all_real, scaled

SIDES = ("right", "left")


def padding(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Real positions are the same without pads, with other pads, and beside a row of pads alone.

    Each row has another number of pads, at the right and at the left. An all-ones mask equals no
    mask. A row that is all padding is finite. In float64; what is in the pads may change a real
    position by no more than rounding. Where the call takes `position_ids`, they are counted from
    the first real position, as who pads at the left has to do.
    """
    judged, exact = subject.exact(setting)
    whole = judged.padded(all_real)
    sequences = judged.draw(exact)
    if not judged.masked_only:
        plain = judged.run(sequences)[0]
        than = ", as it is without a mask; the mask is all ones"
        yield compare(
            "padding", [("y", whole.run(sequences)[0])], [("y", plain)], judged.logic, than
        )
    if setting.T > 1:
        for side in SIDES:
            yield from _padded(judged, exact, side)
        yield from _nothing_but_pads(judged, exact)


def _lengths(setting: Setting) -> list[int]:
    """How many real positions each row has; the last row has all of them."""
    B, T = setting.B, setting.T
    short = [max(1, T - 1 - b * max(1, (T - 1) // max(B, 1))) for b in range(B - 1)]
    return [*short, T] if B > 1 else [max(1, T // 2)]


def _padded(subject: Subject, setting: Setting, side: str) -> Iterator[Finding]:
    sequences, lengths = subject.draw(setting), _lengths(setting)
    mask = _mask(setting, lengths, side)
    masked = subject.padded(lambda x: mask.to(x.device))
    junk = _filled(sequences, subject.draw(setting.again(1)), mask)
    y = masked.run(junk)[0]
    for b, n in enumerate(lengths):
        real = slice(0, n) if side == "right" else slice(setting.T - n, setting.T)
        alone = tuple(x[b : b + 1, real].clone() for x in sequences)
        try:
            wanted = subject.padded(all_real).run(alone)[0]
        except Exception as error:
            told = f"it does not take a row of {n} alone, {type(error).__name__}"
            yield Finding("padding", note=told)
            continue
        than = f", as alone; {setting.T - n} pads at the {side}, row {b}"
        yield compare("padding", [("y", y[b : b + 1, real])], [("y", wanted)], subject.logic, than)
    yield from _rewritten(masked, setting, mask, y, side)


def _rewritten(
    masked: Subject, setting: Setting, mask: Tensor, y: Tensor, side: str
) -> Iterator[Finding]:
    """Other values in the pads, large ones too."""
    sequences = masked.draw(setting)
    for number, size in ((2, 1.0), (3, 2.0**12)):
        fresh = scaled(masked.draw(setting.again(number)), size)
        after = masked.run(_filled(sequences, fresh, mask))[0]
        hide = mask.to(y.device).view(*mask.shape, *[1] * (y.ndim - 2))
        now, before = torch.where(hide, after, 0.0), torch.where(hide, y, 0.0)
        moved = change(after, y, now, before, size)
        if moved.size == 0:
            yield Finding("padding")
        elif moved.small and not moved.tainted:
            yield Finding("padding", note=rounded("the pads"), units=moved.units)
        else:
            text = f"changes by {moved.size:.2g} with what is in the pads, at the {side}"
            yield Finding("padding", True, moved.size, 0.0, f"y{moved.index[:2]}", text)


def _nothing_but_pads(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """A row without a real position: finite, and no other row is different for it."""
    if setting.B < 2:
        return
    sequences = subject.draw(setting)
    mask = torch.ones(setting.B, setting.T, dtype=torch.bool)
    mask[0] = False
    y = subject.padded(lambda x: mask.to(x.device)).run(sequences)[0]
    spoiled = [b for b in range(setting.B) if not bool(y[b].isfinite().all())]
    if spoiled:
        text = "is not finite where row 0 is all padding"
        yield Finding("not finite", True, torch.inf, 0.0, f"y[{spoiled[0]}]", text)
        return
    others = subject.padded(all_real).run(sequences)[0]
    than = ", as it is beside a row that is not all padding"
    yield compare("padding", [("y", y[1:])], [("y", others[1:])], subject.logic, than)


def _mask(setting: Setting, lengths: list[int], side: str) -> Tensor:
    place = torch.arange(setting.T)
    if side == "left":
        place = place.flip(0)
    return place[None] < torch.tensor(lengths)[:, None]


def _filled(sequences: Sequences, junk: Sequences, mask: Tensor) -> Sequences:
    """The sequences, with junk where the mask is not."""
    made = clone(sequences)
    for x, other in zip(made, junk, strict=True):
        x[~mask] = other[~mask]
    return made
