"""Law 2: no output reads a later position, by value, by gradient or by how long x is."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..finding import Finding, compare, logic
from ..nest import clone
from ..subject import Sequences, Subject
from ..sweep import SMALL, Setting, cuts

MAGNITUDES = (1.0, 2.0**12, 2.0**-12)


def causal(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Rewriting x[:, t:] leaves y[:, :t] as it was, bit for bit; so does leaving it away.

    By value: finite values of several magnitudes, one row at a time. By gradient: exactly zero.
    By prefix, in float64: `f(x[:, :t])` equals `f(x)[:, :t]`. NaN in the future that reaches the
    past while finite values do not is a note: something was multiplied by zero.
    """
    for state in (None, subject.past(setting)):
        yield from _by_value(subject, setting, state)
        exact = replace(setting, dtype=torch.float64)
        yield from _by_gradient(subject, exact, state)
        if state is None:
            yield from _by_prefix(subject, exact)
        if setting.T == 5:
            yield from _taint(subject, setting, state)


def _by_value(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    sequences = subject.draw(setting)
    y = _y(subject, sequences, state)
    floor = _farthest(_y(subject, sequences, state), y)
    number = 0
    for t in cuts(y.shape[1]):
        for b in range(setting.B):
            for size in MAGNITUDES if setting.T <= SMALL else MAGNITUDES[: 1 + number % 2]:
                number += 1
                other = subject.draw(setting.again(number))
                spots = range(t, setting.T)
                after = _y(subject, _rewritten(sequences, other, b, spots, size), state)
                if not torch.equal(after[:, :t], y[:, :t]):
                    yield _leak(subject, (sequences, other, state), y, (t, b, size), floor)
    yield Finding("leak", error=floor, allowed=floor)


def _leak(subject: Subject, drawn: Any, y: Tensor, cut: Any, floor: float) -> Finding:
    """The element that changed most, and the one position that changes it if there is one."""
    (sequences, other, state), (t, b, size) = drawn, cut

    def changed(spots: range) -> Tensor:
        after = _y(subject, _rewritten(sequences, other, b, spots, size), state)
        return _change(after[:, :t], y[:, :t])

    spots = range(t, sequences[0].shape[1])
    while len(spots) > 1:  # the half that changes anything, for as long as there is one
        half = len(spots) // 2
        halves = [part for part in (spots[:half], spots[half:]) if changed(part).max() > 4 * floor]
        if not halves:
            break
        spots = halves[0]
    change = changed(spots)
    error = float(change.max())
    where = str(spots[0]) if len(spots) == 1 else f"{spots[0]}:{spots[-1] + 1}"
    place = f"y{(change == change.max()).nonzero()[0].tolist()[:2]}"
    text = f"reads {_named(subject, b, where)}  change {error:.2g}"
    return Finding("leak", error > 4 * floor, error, 4 * floor, place, text)


def _by_gradient(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    leaves = [x.requires_grad_() for x in clone(subject.draw(setting))]
    y, _ = subject.call(tuple(leaves), clone(state))
    floating = [x for x in leaves if x.is_floating_point()]
    if not isinstance(y, Tensor) or not y.requires_grad or not floating:
        return
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    for t in cuts(y.shape[1]):
        loss = (weights * y)[:, t - 1].sum()
        grads = torch.autograd.grad(loss, floating, retain_graph=True, allow_unused=True)
        for name, grad in zip(subject.names, grads, strict=False):
            if grad is not None and grad[:, t:].count_nonzero():
                b, s = _first_index(grad[:, t:])[:2]
                size = float(grad[:, t:].abs().max())
                text = f"has a gradient to {name}[{b}, {t + s}]  gradient {size:.2g}"
                yield Finding("leak in the gradient", True, size, 0.0, f"y[:, {t - 1}]", text)
    yield Finding("leak in the gradient")


def _by_prefix(subject: Subject, setting: Setting) -> Iterator[Finding]:
    sequences = subject.draw(setting)
    y = _y(subject, sequences, None)
    for t in cuts(y.shape[1]):
        head = _y(subject, tuple(x[:, :t] for x in sequences), None)
        than = f", as it is without positions {t} to {setting.T - 1}"
        yield compare("length", [("y", y[:, :t])], [("y", head)], logic, than)


def _taint(subject: Subject, setting: Setting, state: Any) -> Iterator[Finding]:
    sequences = clone(subject.draw(setting))
    for x in sequences:
        if x.is_floating_point():
            x[0, setting.T - 1 :] = torch.nan
    y = _y(subject, sequences, state)
    if y[:, : setting.T - 1].isnan().any():
        yield Finding(
            "leak", note="NaN in the future reaches the past (0 x NaN), no finite value does"
        )


def _y(subject: Subject, sequences: Sequences, state: Any) -> Tensor:
    return subject.run(sequences, state)[0]


def _rewritten(sequences: Sequences, other: Sequences, b: int, spots: range, size: float) -> Any:
    """The sequences with row b taken from `other` at some positions, at another magnitude."""
    mixed = clone(sequences)
    for x, fresh in zip(mixed, other, strict=True):
        place = slice(spots.start, spots.stop)
        x[b, place] = fresh[b, place] * size if x.is_floating_point() else fresh[b, place]
    return mixed


def _change(a: Tensor, b: Tensor) -> Tensor:
    equal = (a == b) | (a.isnan() & b.isnan())
    change = (a.double() - b.double()).abs().nan_to_num(torch.inf, torch.inf)
    return torch.where(equal, 0.0, change)


def _farthest(a: Tensor, b: Tensor) -> float:
    return float(_change(a, b).max()) if a.numel() else 0.0


def _first_index(t: Tensor) -> list[int]:
    return t.nonzero()[0].tolist()


def _named(subject: Subject, b: int, s: str) -> str:
    """`x[0, 5]`, or all sequences of a subject that has several."""
    name = subject.names[0] if len(subject.names) == 1 else f"({', '.join(subject.names)})"
    return f"{name}[{b}, {s}]"
