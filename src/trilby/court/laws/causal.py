"""Law 2: no output reads the future, by value, by gradient and by the length of the sequence."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..entitled import pinned
from ..nest import clone
from ..subject import Arguments, Subject, differences, index_of
from ..verdict import Verdict

SIZES = (1, 2, 3, 5, 8, 9, 63, 64, 65, 130)
EVERY_CUT = 9  # sizes up to which every cut and every single row are tried
MAGNITUDES = (1.0, 1e4, 1e-4)


def causal(subject: Subject) -> Verdict:
    """Whether y[:, :t] is the same, bit for bit, whatever the finite values of x[:, t:] are.

    NaN in the future is a note and no leak: it is spread by a weight of zero.
    """
    for T in SIZES:
        if T == 1:
            continue  # nothing lies in the future
        for way in (_by_value, _by_gradient, _by_length):
            found = way(subject, T)
            if found is not None:
                return found
    return subject.holds("causal", f"bit for bit, T in {SIZES}{_taint(subject)}")


def _by_value(subject: Subject, T: int) -> Verdict | None:
    sequences = subject.draw(B=2, T=T, seed=3, dtype=torch.float32)
    y = subject.outputs(sequences)[0][1]
    for number, (t, stop) in enumerate(_rewritten(T)):
        size = MAGNITUDES[number % len(MAGNITUDES)]
        other = subject.draw(B=2, T=T, seed=4 + number, dtype=torch.float32)
        mixed = tuple(clone(a) for a in sequences)
        for a, b in zip(mixed, other, strict=True):
            a[:, t:stop] = size * b[:, t:stop]
        z = subject.outputs(mixed)[0][1]
        if y.shape != z.shape or y.shape[:2] != (2, T):
            return None  # not a sequence of the same length: a matter of `agrees`
        gap = _gap(z[:, :t].double(), y[:, :t].double())
        if bool((gap > 0).any()):
            at = int(gap.argmax())
            place = index_of("y", at, gap.shape)
            reads = f"x[:, {t}]" if stop == t + 1 else f"x[:, {t}:]"
            return _broken(subject, "leak", place, f"reads {reads}", float(gap.flatten()[at]), T)
    return None


def _gap(z: Tensor, y: Tensor) -> Tensor:
    """The change of each element; NaN for NaN is none, NaN for a number is infinite."""
    same = (z == y) | (z.isnan() & y.isnan())
    return torch.where(same, 0.0, (z - y).abs()).nan_to_num(torch.inf, torch.inf)


def _rewritten(T: int) -> Iterator[tuple[int, int]]:
    """(from, to) of the positions that are rewritten: all after a cut, and single ones."""
    cuts = range(1, T) if T <= EVERY_CUT else sorted({1, T // 2, 63, 64, 65, T - 1} & {*range(T)})
    for t in cuts:
        yield t, T
        yield T - 1, T
        if T <= EVERY_CUT:
            yield t, t + 1


def _by_gradient(subject: Subject, T: int) -> Verdict | None:
    leaves = _requiring(subject.draw(B=1, T=T, seed=5, dtype=torch.float64))
    with torch.enable_grad(), pinned():
        y = subject.call(*leaves)[0]
    if not y.requires_grad or y.shape[1] != T:
        return None  # a matter of `differentiates` or of `agrees`
    for t in {1, T // 2, T - 1}:
        grads = torch.autograd.grad(y[:, :t].sum(), leaves, retain_graph=True, allow_unused=True)
        for grad in grads:
            if grad is not None and bool((grad[:, t:] != 0).any()):
                size = float(grad[:, t:].abs().max())
                return _broken(
                    subject, "leak", f"y[:, :{t}]", f"has gradient to x[:, {t}:]", size, T
                )
    return None


def _by_length(subject: Subject, T: int) -> Verdict | None:
    sequences = subject.draw(B=1, T=T, seed=6, dtype=torch.float64)
    y = subject.outputs(sequences)[0][1]
    for t in {1, T // 2, T - 1}:
        head = tuple(a[:, :t] for a in sequences)
        allowed = [subject.entitled(head)[0].allowance(torch.float64)]
        z = subject.outputs(head)[:1]
        if z[0][1].shape != y[:, :t].shape:
            return None
        for place, error, _ in differences(z, [("y", y[:, :t])], allowed):
            why = f"depends on how long x is ({t} or {T})"
            return _broken(subject, "length dependence", place, why, error, T)
    return None


def _taint(subject: Subject) -> str:
    """What NaN in the last position does to the ones before it, as a note."""
    sequences = subject.draw(B=1, T=9, seed=7, dtype=torch.float32)
    poisoned = tuple(clone(a) for a in sequences)
    for a in poisoned:
        a[:, -1] = torch.nan
    y = subject.outputs(poisoned)[0][1]
    return "; NaN in the future reaches the past" if bool(y[:, :-1].isnan().any()) else ""


def _requiring(sequences: Arguments) -> list[Tensor]:
    return [a.detach().clone().requires_grad_() for a in sequences]


def _broken(subject: Subject, kind: str, place: str, what: str, size: float, T: int) -> Verdict:
    sentence = f"{kind}  {subject.name}  {place} {what}  change {size:.2g}  T={T}"
    return subject.verdict(
        "causal", "broken", kind, error=size, allowance=0.0, place=place, sentence=sentence
    )
