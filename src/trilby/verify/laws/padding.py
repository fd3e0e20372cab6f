"""Law 4, continued: pads change nothing, at the left or at the right."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from ..comparing.change import change, rounded
from ..comparing.finding import Finding, compare
from ..reproducers.script import Script
from ..sizes import Setting
from ..subjects.subject import Subject, all_real, scaled
from ..subjects.user_module import UserModule
from ..wording import joined_lines
from .backward import not_finite, pulled, taped, wanted
from .law import Law
from .mixer_sizes import several_positions
from .module_sizes import marked
from .pads import SIDES, filled, mask_of, real_lengths
from .prefill import continued, continued_lines


def padding(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Real positions are the same without pads, with other pads, and beside a row of pads alone.

    Each row has another number of pads, at the right and at the left. An all-ones mask equals no
    mask. A row that is all padding is finite. In float64; what is in the pads may change a real
    position by no more than rounding. Where the call takes `position_ids`, they are counted from
    the first real position, as for every batch that is padded at the left. Where the user said how
    state is kept between calls, a padded prefill is continued, too.
    """
    judged, exact = subject.exact(setting)
    whole = judged.padded(all_real)
    sequences = judged.draw(exact)
    if not judged.masked_only:
        plain = judged.run(sequences)[0]
        than = ", as it is without a mask; the mask is all ones"
        ones = [("y", whole.run(sequences)[0])]
        found = compare("padding", ones, [("y", plain)], judged.logic, than)
        yield found.at(mask="all ones")
    if setting.T > 1:
        for side in SIDES:
            yield from _padded(judged, exact, side)
        yield from _nothing_but_pads(judged, exact)
        yield from continued(judged, exact)
        yield from _backward(subject, exact)


def _backward(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """The gradient of the real positions is finite, and none flows to a pad.

    Also beside a row that is all padding, whose output a module may replace: what is NaN before
    that spoils the gradient of every parameter.
    """
    judged, setting = subject.recorded(setting)
    for side in (*SIDES, "all"):
        mask = mask_of(setting, real_lengths(setting), "left" if side == "left" else "right")
        if side == "all":
            mask = torch.ones_like(mask)
            mask[0] = setting.B < 2
        masked = judged.padded(partial(_beside, mask))
        where = "where row 0 is all padding" if side == "all" else f"with pads at the {side}"
        try:
            yield _real_gradient(masked, setting, mask, where).at(side=side)
        except (RuntimeError, NotImplementedError) as error:
            yield Finding("padding", note=f"no gradient, it raises: {joined_lines(error)}")
            return


def _beside(mask: Tensor, x: Tensor) -> Tensor:
    """The mask on the device of x."""
    return mask.to(x.device)


def _real_gradient(masked: Subject, setting: Setting, mask: Tensor, where: str) -> Finding:
    y, named = taped(masked, masked.draw(setting))
    if not isinstance(y, Tensor) or not named:
        return Finding("padding")
    real = mask.to(y.device)
    every = wanted(masked, named)
    grads = pulled(masked, y[real], [x for _, x in every])
    spoiled = not_finite(grads, every, f"{where}, of the real positions")
    if spoiled is not None:
        return spoiled
    for (name, _), grad in zip(named, grads, strict=False):
        far = float(grad[~real].abs().max()) if not bool(real.all()) else 0.0
        small = masked.gradient_noise() * float(grad.abs().max())
        if far > small:
            text = f"has a gradient to pads of {name}, {where}  gradient {far:.2g}"
            return Finding("padding in the gradient", True, far, small, "y[real]", text)
    return Finding("padding")


def _padded(subject: Subject, setting: Setting, side: str) -> Iterator[Finding]:
    sequences, lengths = subject.draw(setting), real_lengths(setting)
    mask = mask_of(setting, lengths, side)
    masked = subject.padded(lambda x: mask.to(x.device))
    junk = filled(sequences, subject.draw(setting.again(1)), mask)
    y = masked.run(junk)[0]
    for b, n in enumerate(lengths):
        real = slice(0, n) if side == "right" else slice(setting.T - n, setting.T)
        alone = tuple(x[b : b + 1, real].clone() for x in sequences)
        try:
            wanted = subject.padded(all_real).run(alone)[0]
        except Exception as error:
            note = f"it does not take a row of {n} alone, {type(error).__name__}"
            yield Finding("padding", note=note)
            continue
        than = f", as alone; {setting.T - n} pads at the {side}, row {b}"
        got = [("y", y[b : b + 1, real])]
        found = compare("padding", got, [("y", wanted)], subject.logic, than)
        yield found.at(row=b, side=side, pads=setting.T - n)
    yield from _rewritten(masked, setting, mask, y, side)


def _rewritten(
    masked: Subject, setting: Setting, mask: Tensor, y: Tensor, side: str
) -> Iterator[Finding]:
    """Other values in the pads, large ones too."""
    sequences = masked.draw(setting)
    for number, size in ((2, 1.0), (3, 2.0**12)):
        fresh = scaled(masked.draw(setting.again(number)), size)
        after = masked.run(filled(sequences, fresh, mask))[0]
        hide = mask.to(y.device).view(*mask.shape, *[1] * (y.ndim - 2))
        now, before = torch.where(hide, after, 0.0), torch.where(hide, y, 0.0)
        moved = change(after, y, now, before, size)
        if moved.size == 0:
            yield Finding("padding")
        elif masked.is_rounding(moved) and not moved.tainted:
            yield Finding("padding", note=rounded("the pads"), units=moved.units)
        else:
            text = f"changes by {moved.size:.2g} with what is in the pads, at the {side}"
            found = Finding("padding", True, moved.size, 0.0, f"y{moved.index[:2]}", text)
            yield found.at(row=moved.row, side=side)


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
        found = Finding("not finite", True, torch.inf, 0.0, f"y[{spoiled[0]}]", text)
        yield found.at(row=spoiled[0], mask="all padding")
        return
    others = subject.padded(all_real).run(sequences)[0]
    than = ", as it is beside a row that is not all padding"
    found = compare("padding", [("y", y[1:])], [("y", others[1:])], subject.logic, than)
    yield found.at(mask="all padding")


def _module_settings(effort: str, user: UserModule) -> list[Setting]:
    return marked(effort, user, rows=3)


def _reproduce(script: Script) -> list[str]:
    """With a pad, and without."""
    if script.witness.pieces:
        return continued_lines(script)
    B, T, key = script.setting.B, script.setting.T, script.user.padding
    n = max(T - 1, 1)
    if script.witness.mask == "all ones":
        print_ = "print((a - b).abs().max())  # rounding, if a mask of ones does nothing"
        ones = f"{key}={script.ones(B, T)}"
        return [f"a, b = {script.call()}, {script.call('', ones)}", print_]
    at_left = script.witness.side == "left"
    real, pads = (f"[:, {T - n}:]", f"[:, :{T - n}]") if at_left else (f"[:, :{n}]", f"[:, {n}:]")
    if (pad := script.user.example.pad) is not None:
        ids = script.names[pad.sequence]
        return [
            f"{ids}{pads} = {pad.token}",
            f"a = {script.call()}{real}",
            f"b = {script.call(real)}",
            "print((a - b).abs().max())  # rounding, if pads do nothing",
        ]
    return [
        f"mask = {script.ones(B, T)}",
        f"mask{pads} = 0",
        f"a = {script.call('', f'{key}=mask')}{real}",
        f"b = {script.call(real, f'{key}={script.ones(B, n)}')}",
        "print((a - b).abs().max())  # rounding, if pads do nothing",
    ]


LAW = Law("padding", padding, several_positions, _module_settings, _reproduce)
