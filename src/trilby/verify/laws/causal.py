"""Law 2: no output reads a later position, by value, by gradient or by how long x is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..comparing.change import UNITS, Change, change, first, rounded
from ..comparing.finding import Finding, compare
from ..copies.nested import clone, copied
from ..sizes import SMALL, Setting, cuts
from ..subjects.embeddings import embedded
from ..subjects.subject import Sequences, Subject, scaled

MAGNITUDES = (1.0, 2.0**12, 2.0**-12)
TAINTED = "what is not finite in the future reaches the past (0 x NaN), no finite value does"


def causal(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Rewriting x[:, t:] leaves y[:, :t] as it was, bit for bit; so does leaving it away.

    By value: finite values of several magnitudes, one row at a time. By gradient: exactly zero.
    By prefix, in float64: `f(x[:, :t])` equals `f(x)[:, :t]`. NaN in the future that reaches the
    past while finite values do not is a note: something was multiplied by zero. So is, in anyone's
    module, a change that is no more than rounding in every dtype.
    """
    for state in subject.pasts(setting):
        yield from _by_value(subject, setting, state)
        yield from _by_gradient(subject, setting, state is not None)
        exact, wide = subject.exact(setting)
        if state is None and not exact.draws(wide):
            yield from _by_prefix(exact, wide)
        if setting.T == 5:
            yield from _taint(subject, setting, state)


def _by_value(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    y = _y(subject, subject.draw(setting), state)
    floor = _farthest(_y(subject, subject.draw(setting), state), y)
    number = 0
    for t in cuts(y.shape[1]):
        for rows in [(b,) for b in range(setting.B)] if subject.strict else [range(setting.B)]:
            for size in MAGNITUDES if setting.T <= SMALL else MAGNITUDES[: 1 + number % 2]:
                number += 1
                trial = Trial(subject, setting, state, tuple(rows), number, size)
                spots = range(t, setting.T)
                if not torch.equal(trial.after(spots)[:, :t], y[:, :t]):
                    yield trial.found(y, spots, floor)
    yield Finding("leak", error=floor, allowed=floor)


@dataclass(frozen=True)
class Trial:
    """One way to rewrite a future: which rows, with which fresh values, of which magnitude."""

    subject: Subject
    setting: Setting
    state: Any
    rows: tuple[int, ...]
    number: int
    size: float

    def after(self, spots: range) -> Tensor:
        """The result with some positions rewritten."""
        mixed = clone(self.subject.draw(self.setting))
        other = scaled(self.subject.draw(self.setting.again(self.number)), self.size)
        place = slice(spots.start, spots.stop)
        for x, fresh in zip(mixed, other, strict=True):
            for b in self.rows:
                x[b, place] = fresh[b, place]
        return _y(self.subject, mixed, self.state)

    def found(self, y: Tensor, spots: range, floor: float) -> Finding:
        """The element that changed most, and the one position that changes it if there is one."""
        t = spots.start
        known = self._change(spots, t, y)
        if not self.subject.strict:
            if known.tainted:
                return Finding("leak", note=TAINTED)
            if known.small:
                return Finding("leak", note=rounded("later positions"), units=known.units)
        while len(spots) > 1:  # the half that changes anything, for as long as there is one
            half = len(spots) // 2
            for part in (spots[:half], spots[half:]):
                less = self._change(part, t, y)
                if less.size > 4 * floor and (self.subject.strict or not less.small):
                    spots, known = part, less
                    break
            else:
                break
        where = str(spots[0]) if len(spots) == 1 else f"{spots[0]}:{spots[-1] + 1}"
        kind = self._kind(t, spots)
        text = f"reads {_named(self.subject, known.row, where)}  change {known.size:.2g}"
        text += ", no gradient shows it" if kind == "leak without gradient" else ""
        broken = known.size > 4 * floor
        return Finding(kind, broken, known.size, 4 * floor, f"y{known.index[:2]}", text)

    def _change(self, spots: range, t: int, y: Tensor) -> Change:
        after = self.after(spots)
        return change(after, y, after[:, :t], y[:, :t], self.size)

    def _kind(self, t: int, spots: range) -> str:
        """Whether a gradient shows the leak too, and whether it hid behind the parameters."""
        if self.setting.mode == "redrawn":
            return "hidden leak"
        grads = gradients(self.subject, self.setting, self.state is not None, [t])
        known = [g[:, spots.start : spots.stop] for _, _, _, g in grads]
        shows = any(bool(g.nan_to_num(0).count_nonzero()) for g in known)
        return "leak" if shows or not known else "leak without gradient"


def _by_gradient(subject: Subject, setting: Setting, past: bool) -> Iterator[Finding]:
    try:
        yield from _recorded(subject, setting, past)
    except Exception as error:
        if subject.strict or not past:
            raise
        told = " ".join(str(error).split())
        note = f"no gradient of a call that goes on from a past, it raises: {told:.80}"
        yield Finding("leak in the gradient", note=note)


def _recorded(subject: Subject, setting: Setting, past: bool) -> Iterator[Finding]:
    units = 0.0 if subject.strict else UNITS * subject.recorded(setting)[0].grain
    for t, name, largest, grad in gradients(subject, setting, past, cuts(setting.T)):
        later = grad[:, t:].nan_to_num(0)  # NaN: 0 x inf
        small = units * largest
        size = float(later.abs().max()) if later.numel() else 0.0
        if size > small:
            b, s = first(later)[:2]
            text = f"has a gradient to {name}[{b}, {t + s}]  gradient {size:.2g}"
            yield Finding("leak in the gradient", True, size, small, f"y[:, {t - 1}]", text)
    yield Finding("leak in the gradient")


def gradients(
    subject: Subject, setting: Setting, past: bool, at: list[int]
) -> Iterator[tuple[int, str, float, Tensor]]:
    """(cut, sequence, largest gradient, gradient of y[:, cut - 1] to that sequence).

    Tokens have no gradient; what an embedding makes of them has.
    """
    subject, setting = subject.recorded(setting)
    state = copied(subject.past(setting)) if past else None
    inputs = [x.requires_grad_(x.is_floating_point()) for x in clone(subject.draw(setting))]
    subject.fresh()
    with subject.within(), embedded(subject.module, inputs) as entered:
        y, _ = subject.call(tuple(inputs), state)
    named = [(n, x) for n, x in zip(subject.names, inputs, strict=False) if x.requires_grad]
    named = named or entered
    if not isinstance(y, Tensor) or not y.requires_grad or not named:
        return
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = weights.to(y.dtype).to(y.device) * y
    for t in at:
        tensors = [x for _, x in named]
        with subject.within():
            grads = torch.autograd.grad(
                y[:, t - 1].sum(), tensors, retain_graph=True, allow_unused=True
            )
        for (name, x), grad in zip(named, grads, strict=True):
            known = torch.zeros_like(x) if grad is None else grad
            yield t, name, float(known.abs().nan_to_num(0, 0, 0).max()), known


def _by_prefix(subject: Subject, setting: Setting) -> Iterator[Finding]:
    sequences = subject.draw(setting)
    y = _y(subject, sequences, None)
    for t in cuts(y.shape[1]):
        try:
            head = _y(subject, tuple(x[:, :t].clone() for x in sequences), None)
        except Exception:
            if subject.strict:
                raise
            yield Finding("length", note=f"it does not take length {t} by itself")
            continue
        than = f", as it is without positions {t} to {setting.T - 1}"
        yield compare("length", [("y", y[:, :t])], [("y", head)], subject.logic, than)


def _taint(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    sequences = clone(subject.draw(setting))
    if not any(x.is_floating_point() for x in sequences):
        return
    before = _y(subject, sequences, state)
    for x in sequences:
        if x.is_floating_point():
            x[0, setting.T - 1 :] = torch.nan
    y = _y(subject, sequences, state)
    if (y.isnan() & ~before.isnan())[:, : setting.T - 1].any():
        yield Finding("leak", note=TAINTED)


def _y(subject: Subject, sequences: Sequences, state: Any) -> Tensor:
    return subject.run(sequences, state)[0]


def _farthest(a: Tensor, b: Tensor) -> float:
    return change(a, b, a, b).size if a.numel() else 0.0


def _named(subject: Subject, b: int, s: str) -> str:
    """`x[0, 5]`, or all sequences of a subject that has several."""
    name = subject.names[0] if len(subject.names) == 1 else f"({', '.join(subject.names)})"
    return f"{name}[{b}, {s}]"
