"""Law 2: no output reads a later position, by value, by gradient or by how long x is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..comparing.change import change, first, rounded
from ..comparing.finding import Finding, compare
from ..comparing.witness import Witness
from ..copies.nested import clone
from ..reproducers.script import Script
from ..sizes import LOOKED_AT, SMALL, Setting, cuts, every_cut
from ..subjects.mixer_form import MixerForm
from ..subjects.module_subject import ModuleSubject
from ..subjects.subject import Sequences, Subject
from ..subjects.user_module import UserModule
from ..wording import joined_lines
from .everywhere import larger, suspects, suspects_by_gradient
from .influence import SHOWN, influence
from .law import Law
from .mixer_sizes import every_dtype
from .module_sizes import HALF, LENGTHS, WIDE, at_lengths, in_modes, own, short
from .rewriting import ONLY_NAN, Rewrite, beyond, gradients

MAGNITUDES = (1.0, 2.0**12, 2.0**-12)


def causal(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Rewriting x[:, t:] leaves y[:, :t] as it was, bit for bit; so does leaving it away.

    Where a subject may look k positions ahead, rewriting x[:, t + k:] does. The cut is t.
    By value: finite values of several magnitudes. By gradient: exactly zero. Both at every t of a
    sequence of up to LOOKED_AT positions, and else around borders of blocks.
    By prefix, in float64: `f(x[:, :t])` equals `f(x)[:, :t]`. NaN in the future that reaches the
    past while finite values do not is a note: something was multiplied by zero. In a user's module
    a change that is no more than rounding in every dtype is a note as well.
    """
    if 0 < subject.lookahead >= setting.T - 1:
        return  # each output may read every position
    for state in subject.starts(setting):
        yield from _by_value(subject, setting, state)
        if subject.records_at(setting):
            yield from _by_gradient(subject, setting, state is not None)
        exact, wide = subject.exact(setting)
        if state is None and not exact.draws(wide):
            yield from _by_prefix(exact, wide)
        if setting.T == 5:
            yield from _by_nan(subject, setting, state)


def _by_value(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    y = _y(subject, subject.draw(setting), state)
    floor = _farthest(_y(subject, subject.draw(setting), state), y)
    tried = Tried(subject, setting, state, y, floor)
    if _whole(subject, setting):
        try:
            yield from _everywhere(tried)
        except Exception:  # it takes no larger batch, so each position is cut by itself
            yield from _cut_by_cut(tried, every_cut(setting.T - subject.lookahead))
    yield from _cut_by_cut(tried, _alone(subject, setting.T))
    yield Finding("leak", error=floor, allowed=floor)


def _alone(subject: Subject, T: int) -> list[int]:
    """Where a sequence is cut by itself: also where the cut or what may be read ends a block."""
    k = subject.lookahead
    at = subject.cuts_alone(T)
    return sorted({t for t in (*at, *(t - k for t in at)) if 0 < t < T - k})


def _whole(subject: Subject, setting: Setting) -> bool:
    """Whether every position is looked at."""
    return 1 < setting.T <= LOOKED_AT and not subject.large


@dataclass(frozen=True)
class Tried:
    """A call and its result, and how far an equal call is from it."""

    subject: Subject
    setting: Setting
    state: Any
    y: Tensor
    floor: float

    def rewritten(self, t: int, number: int, size: float) -> Iterator[Finding]:
        """What is found where the future from t on is rewritten, in the rows that may be."""
        for rows in self.subject.rewritten_rows(self.setting.B):
            rewrite = Rewrite(self.subject, self.setting, self.state, rows, number, size)
            future = range(t + self.subject.lookahead, self.setting.T)
            if not torch.equal(rewrite.after(future)[:, :t], self.y[:, :t]):
                yield rewrite.found(self.y, future, self.floor)


def _cut_by_cut(tried: Tried, at: list[int]) -> Iterator[Finding]:
    number = 0
    for t in at:
        for size in MAGNITUDES if tried.setting.T <= SMALL else MAGNITUDES[: 1 + number % 2]:
            number += 1
            yield from tried.rewritten(t, number, size)


def _everywhere(tried: Tried) -> Iterator[Finding]:
    """Every cut in a row of its own; what is suspected is tried again by itself."""
    subject, setting, state = tried.subject, tried.setting, tried.state
    past = None if state is None else subject.past(larger(subject, setting))
    sizes = MAGNITUDES if setting.T <= SMALL else MAGNITUDES[:2]
    for t, number, size, moved in suspects(subject, setting, past, [*enumerate(sizes, 1)]):
        if subject.is_only_nan(moved):
            yield Finding("leak", note=ONLY_NAN)
        elif subject.is_rounding(moved):
            yield Finding("leak", note=rounded("later positions"), units=moved.units)
        else:
            yield from tried.rewritten(t, number, size)


def _by_gradient(subject: Subject, setting: Setting, past: bool) -> Iterator[Finding]:
    try:
        yield from _later_gradients(subject, setting, past)
    except Exception as error:
        if subject.must_accept_every_call:
            raise
        of = " of a call that continues from a past" if past else ""
        note = f"no gradient{of}, it raises: {joined_lines(error)}"
        yield Finding("leak in the gradient", note=note)


def _later_gradients(subject: Subject, setting: Setting, past: bool) -> Iterator[Finding]:
    noise = subject.recorded(setting)[0].gradient_noise()
    for t, name, largest, grad in gradients(subject, setting, past, _at(subject, setting, past)):
        start = t + subject.lookahead
        later = grad[:, start:].nan_to_num(0)  # NaN: 0 x inf
        small = noise * largest
        size = float(later.abs().max()) if later.numel() else 0.0
        if size > small:
            b, s = first(later)[:2]
            s += start
            text = f"has a gradient to {name}[{b}, {s}]  gradient {size:.2g}{beyond(subject)}"
            witness = Witness(row=b, position=t - 1, reads=(s, s + 1), sequence=name)
            yield Finding(
                "leak in the gradient", True, size, small, f"y[:, {t - 1}]", text, witness=witness
            )
    yield Finding("leak in the gradient")


def _at(subject: Subject, setting: Setting, past: bool) -> list[int]:
    """The cuts whose gradients are taken one by one: those that are suspected, and a few more."""
    alone = _alone(subject, setting.T)
    if not _whole(subject, setting):
        return alone
    judged, exact = subject.recorded(setting)
    try:
        state = judged.past(larger(judged, exact)) if past else None
        return sorted({*alone, *suspects_by_gradient(judged, exact, state)})
    except Exception:  # it takes no larger batch
        return every_cut(setting.T - subject.lookahead)


def _by_prefix(subject: Subject, setting: Setting) -> Iterator[Finding]:
    sequences = subject.draw(setting)
    y = _y(subject, sequences, None)
    for t in cuts(y.shape[1]):
        known = t - subject.lookahead  # outputs that read nothing of what is left away
        if known < 1:
            continue
        try:
            head = _y(subject, tuple(x[:, :t].clone() for x in sequences), None)
        except Exception:
            if subject.must_accept_every_call:
                raise
            yield Finding("length", note=f"it does not take length {t} by itself")
            continue
        than = f", as it is without positions {t} to {setting.T - 1}"
        pair = [("y", y[:, :known])], [("y", head[:, :known])]
        found = compare("length", *pair, subject.logic, than)
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
    if (y.isnan() & ~before.isnan())[:, : setting.T - 1 - subject.lookahead].any():
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
    if user.lookahead:  # as many outputs again as are spared
        lengths += tuple([n for n in user.lengths if n > 2 * user.lookahead + 1][:1])
    found = [own(user), *at_lengths(user, lengths), *at_lengths(user, lengths, dtype=WIDE)]
    found += in_modes(effort, user, "train", "redrawn", "masked")
    return found + at_lengths(user, short(user), dtype=HALF)


def _reproduce(script: Script) -> list[str]:
    """With another future, or with none."""
    at, k = script.witness.position or 0, script.user.lookahead
    t = max(1, min(at + 1, script.setting.T - 1 - k))  # how many outputs must not change
    s = t + k  # the first position that they must not read
    if script.kind == "length":
        print_ = f"print((a[:, :{t}] - b[:, :{t}]).abs().max())  # rounding, if causal"
        return [f"a = {script.call()}", f"b = {script.call(f'[:, :{s}]')}", print_]
    if script.kind == "leak in the gradient":
        x = script.names[0]
        lines = [f"{x}.requires_grad_()", f"{script.call()}[:, {t - 1}].sum().backward()"]
        return [*lines, f"print({x}.grad[:, {s}:].abs().max())  # 0 if causal"]
    print_ = f"print((a - b)[:, :{t}].abs().max())  # 0 if causal"
    changed = script.rewrite(f"[:, {s}:]")
    return [f"a = {script.call()}", *changed, f"b = {script.call()}", print_]


def _triangle(user: UserModule, subject: ModuleSubject, setting: Setting, found: Finding) -> str:
    """What each output reads, measured at the largest size that can still be read.

    Of a longer one, the positions around the leak.
    """
    known = [n for n in user.lengths if setting.T <= n <= SHOWN]
    T = max(known, default=setting.T)
    start = max(0, min((found.witness.position or 0) - SHOWN // 2 + 1, T - SHOWN))
    return "\n".join(influence(subject, replace(setting, T=T), start).lines())


LAW = Law("causal", causal, _mixer_settings, _module_settings, _reproduce, _triangle)
