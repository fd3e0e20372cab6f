"""Law 4: a row does not depend on its neighbours in the batch."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor

from ..comparing.change import change, rounded
from ..comparing.finding import Finding, compare, exactly, rounding
from ..copies.nested import leaves
from ..reproducers.script import Script
from ..sizes import DTYPES, Setting, sizes
from ..subjects.mixer_form import MixerForm
from ..subjects.subject import Sequences, Subject, row, scaled, spliced
from ..subjects.user_module import UserModule
from ..wording import joined_lines
from .backward import pulled, taped
from .law import Law
from .mixer_sizes import wide
from .module_sizes import LENGTHS, WIDE, at_lengths, in_modes, own

MAGNITUDES = (1.0, 2.0**12)


def isolated(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """A row is the same, bit for bit, whatever its neighbours are, and the same alone (float64).

    The rows of the state are neighbours too, those that go in and those that come out. In a user's
    module a change that is no more than rounding in every dtype is a note.
    """
    exact, exact_setting = subject.exact(setting)
    if not subject.bit_for_bit:
        yield from _neighbours(subject, setting)
        if not exact.draws(exact_setting):
            yield from _alone(exact, exact_setting, None)
        if subject.records_at(setting):
            yield from _by_gradient(subject, setting)
        return
    pairs = zip(subject.starts(setting), exact.starts(exact_setting), strict=True)
    for state, exact_state in pairs:
        yield from _rewritten(subject, setting, state)
        yield from _alone(exact, exact_setting, exact_state)


def _rewritten(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    """The rows of a form: the same in every bit, the state included."""
    sequences = subject.draw(setting)
    before = subject.run(sequences, state)
    still = not compare("", leaves(subject.run(sequences, state)), leaves(before), exactly).broken
    for number, size in enumerate(MAGNITUDES):
        again = setting.again(number)
        fresh = scaled(subject.draw(again), size)
        other = None if state is None else subject.past(again)
        for b in range(setting.B):
            neighbours = spliced(sequences, fresh, b), spliced(state, other, b)
            after = subject.run(*neighbours)
            allow = exactly if still else rounding
            found = compare("neighbour", _row(after, b), _row(before, b), allow, _than(b))
            yield found.at(row=b)


def _neighbours(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """A module's rows: what changes is a neighbour's doing, or rounding."""
    sequences = subject.draw(setting)
    before: Tensor = subject.run(sequences)[0]
    for number, size in enumerate(MAGNITUDES):
        fresh = scaled(subject.draw(setting.again(number)), size)
        for b in range(setting.B):
            after: Tensor = subject.run(spliced(sequences, fresh, b))[0]
            moved = change(after, before, after[b : b + 1], before[b : b + 1], size)
            if not moved.size or subject.is_only_nan(moved):
                yield Finding("neighbour")
            elif subject.is_rounding(moved):
                yield Finding("neighbour", note=rounded("its neighbours"), units=moved.units)
            else:
                named = [("y", after[b : b + 1])], [("y", before[b : b + 1])]
                yield compare("neighbour", *named, exactly, _than(b)).at(row=b)


def _by_gradient(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """A row of a module has no gradient to another row."""
    kind = "neighbour in the gradient"
    subject, setting = subject.recorded(setting)
    try:
        y, named = taped(subject, subject.draw(setting))
        for b in range(setting.B if isinstance(y, Tensor) and named else 0):
            grads = pulled(subject, y[b], [x for _, x in named])
            yield _own_row(
                kind, subject, b, [(n, g) for (n, _), g in zip(named, grads, strict=True)]
            )
    except (RuntimeError, NotImplementedError) as error:
        yield Finding(kind, note=f"no gradient, it raises: {joined_lines(error)}")


def _own_row(kind: str, subject: Subject, b: int, grads: list[tuple[str, Tensor]]) -> Finding:
    for name, grad in grads:
        size = grad.abs().nan_to_num(0, 0, 0)
        others = size.clone()
        others[b] = 0
        far, small = float(others.max()), subject.gradient_noise() * float(size.max())
        if far > small:
            other = int(others.flatten(1).amax(1).argmax())
            text = f"has a gradient to row {other} of {name}  gradient {far:.2g}"
            return Finding(kind, True, far, small, f"y[{b}]", text).at(row=b, sequence=name)
    return Finding(kind)


def _than(b: int) -> str:
    return f", as before its neighbours were rewritten (row {b})"


def _alone(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    sequences: Sequences = subject.draw(setting)
    together = subject.run(sequences, state)
    for b in range(setting.B):
        try:
            alone = subject.leaves(row(sequences, b), row(state, b))
        except Exception as error:
            if subject.must_accept_every_call:
                raise
            yield Finding("batch", note=f"it does not take a row alone, {type(error).__name__}")
            return
        than = f", as alone (row {b} of {setting.B})"
        mine = together if subject.state_is_contract else together[0]
        found = compare("batch", _row(mine, b), subject.compared(alone), subject.logic, than)
        yield found.at(row=b)


def _row(result: Any, b: int) -> Any:
    return leaves(row(result, b))


def _mixer_settings(effort: str, form: MixerForm) -> list[Setting]:
    return [*sizes(effort, dtypes=DTYPES, rows=2), *wide(effort, form)]


def _module_settings(effort: str, user: UserModule) -> list[Setting]:
    first = replace(own(user), B=max(2, own(user).B))
    several = at_lengths(user, LENGTHS[effort], B=max(3, first.B))
    modes = in_modes(effort, user, "train", "redrawn")
    return [first, *several, replace(first, dtype=WIDE), *(replace(s, B=first.B) for s in modes)]


def _reproduce(script: Script) -> list[str]:
    """Alone, or among other neighbours."""
    if script.kind == "batch":
        print_ = "print((a[:1] - b).abs().max())  # rounding, if rows are isolated"
        return [f"a, b = {script.call()}, {script.call('[:1]')}", print_]
    b = script.witness.row or 0
    if script.kind == "neighbour in the gradient":
        x = script.names[0]
        lines = [f"{x}.requires_grad_()", f"{script.call()}[{b}].sum().backward()"]
        return [*lines, f"print({x}.grad.flatten(1).abs().amax(1))  # 0 but for row {b}"]
    other = f"[{b + 1}:]" if b == 0 else f"[:{b}]"
    print_ = f"print((a - b)[{b}].abs().max())  # 0 if rows are isolated"
    return [f"a = {script.call()}", *script.rewrite(other), f"b = {script.call()}", print_]


LAW = Law("isolated", isolated, _mixer_settings, _module_settings, _reproduce)
