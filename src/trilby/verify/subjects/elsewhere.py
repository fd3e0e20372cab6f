"""Time on another axis than the one that was said: seen by what a module takes, and reads."""

from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from ..copies.nested import clone
from ..sizes import Setting
from .example import Example
from .paths import placed
from .user_module import UserModule, checked

WRITTEN = {0: "[T, B, ...]", 2: "[B, ..., T]"}
SEEN = 1e-6  # the share of the largest output above which a change is no rounding


def accepted_elsewhere(user: UserModule) -> str:
    """The end of an error where the example is refused, but is taken with time on another axis."""
    if user.example.time != 1 or user.example.drawer is not None:
        return ""
    for axis in (2, 0):
        if not _long_enough(user, axis):
            continue
        if _takes(user, _reread(user.example, axis)):
            return f"; axis {axis} looks like time: pass time_axis={axis}"
        if _takes(user, _turned(user.example, axis)):
            there = f"with time on axis {axis}, {WRITTEN[axis]}"
            return f"; it takes the example {there}: give it so and pass time_axis={axis}"
    return ""


def looks_elsewhere(user: UserModule, law: str) -> str:
    """What to say below a broken law if another axis looks like time; empty if none does."""
    if user.example.time != 1:
        return ""
    with suppress(Exception):
        if law == "causal" and _only_one_length(user) and _takes(user, _reread(user.example, 2)):
            return (
                "it takes other sizes of axis 2 and none of axis 1; "
                "if axis 2 is time, pass time_axis=2"
            )
        if law == "isolated" and not any(_reads(user, 1)):
            rows = _reads(user, 0)
            if rows == (True, False):
                return (
                    "rows read earlier rows only, and positions read no others; "
                    "axis 0 looks like time: pass time_axis=0"
                )
            if any(rows):
                return (
                    "rows read each other, and positions read no others; "
                    "if axis 0 is time, pass time_axis=0"
                )
    return ""


def nothing_along_time(user: UserModule) -> list[str]:
    """A line for the report where no position reads another, but axis 2 is read as time is."""
    if user.example.time != 1 or user.large or not _long_enough(user, 2):
        return []
    with suppress(Exception):
        if not any(_reads(user, 1)) and _reads(user, 2) == (True, False):
            return [
                "no position reads another, and along axis 2 each reads earlier ones only; "
                "if axis 2 is time, pass time_axis=2"
            ]
    return []


def _only_one_length(user: UserModule) -> bool:
    """Whether it takes no other length than that of its example."""
    alone = user.lengths == user.example.size[1:] and user.example.drawer is None
    return alone and _long_enough(user, 2)


def _long_enough(user: UserModule, axis: int) -> bool:
    """Whether the first sequence is of real numbers and has that axis."""
    first = user.example.sequence(0)
    return first.ndim > max(axis, 2) and first.is_floating_point()


def _reread(example: Example, axis: int) -> Example:
    """The example as it is, its time on another axis."""
    layouts = tuple(replace(layout, time=axis) for layout in example.layouts)
    return example.anew(layouts=layouts, time=axis)


def _turned(example: Example, axis: int) -> Example:
    """The example with its time moved to another axis."""
    other = _reread(example, axis)
    args, kwargs = list(example.args), dict(example.kwargs)
    for i, (path, layout) in enumerate(zip(example.paths, other.layouts, strict=True)):
        value = layout.given(example.sequence(i))
        if isinstance(path[0], str):
            kwargs = placed(kwargs, path, value)
        else:
            args = placed(args, path, value)
    return other.anew(args=tuple(args), kwargs=kwargs)


def _takes(user: UserModule, example: Example) -> bool:
    """Whether the module takes an example, and one position more."""
    other = replace(user, example=example, _bound={}, _wide=None)
    B, T = example.size
    with suppress(Exception):
        subject = other.at(Setting(T, B, dtype=user.dtype))
        sequences = subject.draw(Setting(T + 1, B, dtype=user.dtype))
        checked(user.name, subject.run(sequences)[0], sequences)
        return True
    return False


def _reads(user: UserModule, axis: int) -> tuple[bool, bool]:
    """Whether the halves of an output read the earlier half, and the later half, of an axis."""
    B, T = user.example.size
    subject, setting = user.subject().exact(Setting(T, max(B, 2), dtype=user.dtype))
    x, fresh = subject.draw(setting), subject.draw(setting.again(1))
    y = subject.run(x)[0]
    half = x[0].shape[axis] // 2

    def moved(first: bool) -> bool:
        mixed = clone(x)
        for into, other in zip(mixed[: len(user.example.paths)], fresh, strict=False):
            if into.ndim > axis and into.shape[axis] == x[0].shape[axis]:
                _half(into, axis, half, first).copy_(_half(other, axis, half, first))
        change = _half(subject.run(mixed)[0] - y, axis, half, not first)
        return bool(change.abs().max() > SEEN * y.abs().max())

    if y.shape[axis] != x[0].shape[axis] or half == 0:
        return False, False
    return moved(True), moved(False)


def _half(t: Tensor, axis: int, half: int, first: bool) -> Tensor:
    """The first half of an axis, or the rest."""
    return torch.narrow(t, axis, 0 if first else half, half if first else t.shape[axis] - half)
