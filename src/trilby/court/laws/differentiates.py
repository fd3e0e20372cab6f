"""Law 5: gradients equal differences, for every input and every state."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from ..entitled import pinned
from ..nest import clone, leaves, numbers
from ..subject import Subject, index_of
from ..verdict import Verdict

SIZES = (1, 2, 5, 9)
STEP = torch.finfo(torch.float64).eps ** (1 / 3)  # where a central difference errs least
ALLOWED = 64 * STEP**2  # error of such a difference, relative to what the output is made of


def differentiates(subject: Subject) -> Verdict:
    """Whether gradients equal float64 central differences, element by element; also twice.

    Judged from y and from the state that comes back, to every sequence and the state that goes in.
    """
    for T in SIZES:
        for state in (None, subject.past(2)):
            found = _judge(subject, subject.draw(B=2, T=T, seed=31, dtype=torch.float64), state, T)
            if found is not None:
                return found
    return subject.holds("differentiates", f"every element against differences, T in {SIZES}")


def _judge(subject: Subject, sequences: tuple[Tensor, ...], state: Any, T: int) -> Verdict | None:
    names = [f"sequence {i}" if i else "x" for i in range(len(sequences))]
    past = [(p, a) for p, a in leaves((0, state))[1:] if numbers(a)]
    points = [*sequences, *(a for _, a in past)]
    f = _scalar(subject, len(sequences), state)
    leaf = [p.detach().clone().requires_grad_() for p in points]
    with torch.enable_grad(), pinned():
        value = f(leaf)
        grads = torch.autograd.grad(value, leaf, allow_unused=True) if value.requires_grad else None
    for i, name in enumerate([*names, *(p for p, _ in past)]):
        grad = None if grads is None else grads[i]
        slope = _differences(f, points, i)
        found = torch.zeros_like(slope) if grad is None else grad
        allowed = ALLOWED * (1 + float(slope.abs().max()) + float(value.detach().abs()))
        gap = (found - slope).abs().nan_to_num(torch.inf, torch.inf)
        if float(gap.max()) > allowed:
            at = int(gap.argmax())
            return _broken(subject, index_of(name, at, gap.shape), float(gap.max()), allowed, T)
    return _twice(subject, f, points, T)


def _scalar(subject: Subject, n: int, state: Any) -> Callable[[list[Tensor]], Tensor]:
    """All floating outputs times fixed weights, added up: one number of all inputs."""

    def f(points: list[Tensor]) -> Tensor:
        past = _filled(state, iter(points[n:]))
        total = points[0].new_zeros(())
        for i, (_, out) in enumerate(leaves(subject.call(*points[:n], state=past))):
            if numbers(out):
                rng = torch.Generator().manual_seed(i)
                weights = torch.randn(out.shape, generator=rng, dtype=torch.float64)
                total = total + (weights * out).sum()
        return total

    return f


def _filled(state: Any, points: Any) -> Any:
    """The same state with its floating tensors replaced, in order."""
    if isinstance(state, Tensor):
        return next(points) if numbers(state) else state
    if isinstance(state, tuple | list):
        parts = [_filled(part, points) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    return state


def _differences(f: Callable[[list[Tensor]], Tensor], points: list[Tensor], i: int) -> Tensor:
    """The slope of f along every element of points[i]."""
    slope = torch.empty(points[i].numel(), dtype=torch.float64)
    with torch.no_grad(), pinned():
        for j in range(len(slope)):
            ends = []
            for sign in (1, -1):
                moved = [clone(p) for p in points]
                moved[i].view(-1)[j] += sign * STEP
                ends.append(f(moved))
            slope[j] = (ends[0] - ends[1]) / (2 * STEP)
    return slope.view(points[i].shape)


def _twice(
    subject: Subject, f: Callable[[list[Tensor]], Tensor], points: list[Tensor], T: int
) -> Verdict | None:
    """The gradient of the gradient, on the smallest sizes, by torch's own check."""
    if T > 2:
        return None
    leaf = [p.detach().clone().requires_grad_() for p in points]
    try:
        with torch.enable_grad(), pinned():
            torch.autograd.gradgradcheck(lambda *p: f(list(p)), leaf)
    except GradcheckError as problem:
        told = str(problem).partition("\n")[0]
        return _broken(subject, "the second gradient", torch.inf, 0.0, T, f" ({told})")
    return None


def _broken(
    subject: Subject, place: str, error: float, most: float, T: int, more: str = ""
) -> Verdict:
    sentence = f"gradient  {subject.name}  to {place} is off by {error:.2g}{more}  T={T}"
    return subject.verdict(
        "differentiates", "broken", "gradient", error=error, allowance=most, place=place,
        sentence=sentence,
    )  # fmt: skip
