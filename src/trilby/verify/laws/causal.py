"""Law 2: no output reads a later position, by value, by gradient or by how long x is."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..comparing.change import change, first
from ..comparing.finding import Finding, compare
from ..comparing.witness import Witness
from ..copies.nested import clone
from ..reproducers.script import Script
from ..sizes import SMALL, Setting, cuts
from ..subjects.mixer_form import MixerForm
from ..subjects.module_subject import ModuleSubject
from ..subjects.subject import Sequences, Subject
from ..subjects.user_module import UserModule
from ..wording import joined_lines
from .influence import SHOWN, influence
from .law import Law
from .mixer_sizes import every_dtype
from .module_sizes import HALF, LENGTHS, WIDE, at_lengths, in_modes, own, short
from .rewriting import ONLY_NAN, Rewrite, gradients

MAGNITUDES = (1.0, 2.0**12, 2.0**-12)


def causal(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Rewriting x[:, t:] leaves y[:, :t] as it was, bit for bit; so does leaving it away.

    By value: finite values of several magnitudes, one row at a time. By gradient: exactly zero.
    By prefix, in float64: `f(x[:, :t])` equals `f(x)[:, :t]`. NaN in the future that reaches the
    past while finite values do not is a note: something was multiplied by zero. In a user's module
    a change that is no more than rounding in every dtype is a note as well.
    """
    for state in subject.starts(setting):
        yield from _by_value(subject, setting, state)
        yield from _by_gradient(subject, setting, state is not None)
        exact, wide = subject.exact(setting)
        if state is None and not exact.draws(wide):
            yield from _by_prefix(exact, wide)
        if setting.T == 5:
            yield from _by_nan(subject, setting, state)


def _by_value(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    y = _y(subject, subject.draw(setting), state)
    floor = _farthest(_y(subject, subject.draw(setting), state), y)
    number = 0
    for t in cuts(y.shape[1]):
        for rows in subject.rewritten_rows(setting.B):
            for size in MAGNITUDES if setting.T <= SMALL else MAGNITUDES[: 1 + number % 2]:
                number += 1
                rewrite = Rewrite(subject, setting, state, rows, number, size)
                future = range(t, setting.T)
                if not torch.equal(rewrite.after(future)[:, :t], y[:, :t]):
                    yield rewrite.found(y, future, floor)
    yield Finding("leak", error=floor, allowed=floor)


def _by_gradient(subject: Subject, setting: Setting, past: bool) -> Iterator[Finding]:
    try:
        yield from _later_gradients(subject, setting, past)
    except Exception as error:
        if subject.must_accept_every_call or not past:
            raise
        note = f"no gradient of a call that continues from a past, it raises: {joined_lines(error)}"
        yield Finding("leak in the gradient", note=note)


def _later_gradients(subject: Subject, setting: Setting, past: bool) -> Iterator[Finding]:
    noise = subject.recorded(setting)[0].gradient_noise()
    for t, name, largest, grad in gradients(subject, setting, past, cuts(setting.T)):
        later = grad[:, t:].nan_to_num(0)  # NaN: 0 x inf
        small = noise * largest
        size = float(later.abs().max()) if later.numel() else 0.0
        if size > small:
            b, s = first(later)[:2]
            text = f"has a gradient to {name}[{b}, {t + s}]  gradient {size:.2g}"
            witness = Witness(row=b, position=t - 1, reads=(t + s, t + s + 1), sequence=name)
            yield Finding(
                "leak in the gradient", True, size, small, f"y[:, {t - 1}]", text, witness=witness
            )
    yield Finding("leak in the gradient")


def _by_prefix(subject: Subject, setting: Setting) -> Iterator[Finding]:
    sequences = subject.draw(setting)
    y = _y(subject, sequences, None)
    for t in cuts(y.shape[1]):
        try:
            head = _y(subject, tuple(x[:, :t].clone() for x in sequences), None)
        except Exception:
            if subject.must_accept_every_call:
                raise
            yield Finding("length", note=f"it does not take length {t} by itself")
            continue
        than = f", as it is without positions {t} to {setting.T - 1}"
        found = compare("length", [("y", y[:, :t])], [("y", head)], subject.logic, than)
        yield found.at(length=t)


def _by_nan(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    sequences = clone(subject.draw(setting))
    if not any(x.is_floating_point() for x in sequences):
        return
    before = _y(subject, sequences, state)
    for x in sequences:
        if x.is_floating_point():
            x[0, setting.T - 1 :] = torch.nan
    y = _y(subject, sequences, state)
    if (y.isnan() & ~before.isnan())[:, : setting.T - 1].any():
        yield Finding("leak", note=ONLY_NAN)


def _y(subject: Subject, sequences: Sequences, state: Any) -> Tensor:
    y: Tensor = subject.run(sequences, state)[0]
    return y


def _farthest(a: Tensor, b: Tensor) -> float:
    return change(a, b, a, b).size if a.numel() else 0.0


def _mixer_settings(effort: str, form: MixerForm) -> list[Setting]:
    redrawn = [] if form.draw_parameters is None else [Setting(5, 2, 3, mode="redrawn")]
    return [*every_dtype(effort, form), *redrawn]


def _module_settings(effort: str, user: UserModule) -> list[Setting]:
    lengths = LENGTHS[effort]
    found = [own(user), *at_lengths(user, lengths), *at_lengths(user, lengths, dtype=WIDE)]
    found += in_modes(effort, user, "train", "redrawn", "masked")
    return found + at_lengths(user, short(user), dtype=HALF)


def _reproduce(script: Script) -> list[str]:
    """With another future, or with none."""
    at = script.witness.position or 0
    t = max(1, min(at + 1, script.setting.T - 1))  # the first position of the future
    if script.kind == "length":
        print_ = f"print((a[:, :{t}] - b).abs().max())  # rounding, if causal"
        return [f"a = {script.call()}", f"b = {script.call(f'[:, :{t}]')}", print_]
    if script.kind == "leak in the gradient":
        x = script.names[0]
        lines = [f"{x}.requires_grad_()", f"{script.call()}[:, {t - 1}].sum().backward()"]
        return [*lines, f"print({x}.grad[:, {t}:].abs().max())  # 0 if causal"]
    print_ = f"print((a - b)[:, :{t}].abs().max())  # 0 if causal"
    changed = script.rewrite(f"[:, {t}:]")
    return [f"a = {script.call()}", *changed, f"b = {script.call()}", print_]


def _triangle(user: UserModule, subject: ModuleSubject, setting: Setting) -> str:
    """What each output reads, measured at the largest size that can still be read."""
    known = [n for n in user.lengths if setting.T <= n <= SHOWN]
    drawn = influence(subject, replace(setting, T=max(known, default=setting.T)))
    return "\n".join(drawn.lines())


LAW = Law("causal", causal, _mixer_settings, _module_settings, _reproduce, _triangle)
