"""What is said of all that is shown: the clauses of the head line, the worst first."""

from typing import NamedTuple

from ..bench import Growth
from .positions import Positions
from .programs import AGREE
from .triangle import Subject

ROUNDING = 2.0**-30  # of the largest output, which weights and output may differ by in float64


class Clause(NamedTuple):
    """One part of the answer.

    Attributes:
        text: what is said.
        mark: "broken" for bad news, "ok", or "" for what is neither.
        view: the view of the page that shows it.
    """

    text: str
    mark: str
    view: str


def clauses(subjects: tuple[Subject, ...], where: Positions) -> list[Clause]:
    """What is shown, is there a leak, do the forms agree, do the weights explain the output."""
    T = len(where.tokens)
    names = ", ".join(subject.name for subject in subjects)
    found = [Clause(f"{names} on {where.said}, T = {T}", "", "matrix")]
    found += [_explained(subjects)] if _residuals(subjects) else []
    found += _leaks(subjects)
    found += [_forms(subjects)] if any(subject.forms for subject in subjects) else []
    found += _fastest([(s.name, s.growth) for s in subjects if s.growth is not None])
    found += [_linear(subject) for subject in subjects if subject.linear is not None
              and subject.triangles[0].measured]  # fmt: skip
    return sorted(found, key=lambda clause: clause.mark != "broken")


def _residuals(subjects: tuple[Subject, ...]) -> list[tuple[float, float]]:
    """(largest difference between output and weights, largest output) of each triangle."""
    triangles = [triangle for subject in subjects for triangle in subject.triangles]
    return [
        (each.residual, float(each.output.abs().max()))
        for each in triangles
        if each.residual is not None and each.output is not None
    ]


def _explained(subjects: tuple[Subject, ...]) -> Clause:
    known = _residuals(subjects)
    wrong = any(far > ROUNDING * max(top, 1.0) for far, top in known)
    worst = max(far for far, _ in known)
    text = f"the weights give the output to {worst:.1e}"
    return Clause(
        text if not wrong else f"{text}, which is no rounding", _mark(not wrong), "matrix"
    )


def _leaks(subjects: tuple[Subject, ...]) -> list[Clause]:
    found = [_leak(subject) for subject in subjects if subject.leaks or subject.early is not None]
    return found or [Clause("no output reads a later position", "ok", "leaks")]


def _leak(subject: Subject) -> Clause:
    if subject.leaks:
        leak = subject.leaks[0]
        read = "another row of the batch" if leak.reads is None else f"x[{leak.reads}]"
        return Clause(f"{subject.name} leaks: y[{leak.position}] reads {read}", "broken", "leaks")
    text = f"{subject.name} leaks: an output before {subject.early} reads what follows"
    return Clause(text, "broken", "leaks")


def _forms(subjects: tuple[Subject, ...]) -> Clause:
    errors = [
        (error, f"{subject.name}.{form.name}")
        for subject in subjects
        for form in subject.forms
        for error in [each["float64"] for each in form.errors.values()]
        if error is not None
    ]
    count = sum(len(subject.forms) for subject in subjects)
    worst, name = max(errors)
    if not worst <= AGREE:
        return Clause(f"{name} differs from its loop by {worst:.1e}", "broken", "forms")
    return Clause(f"{count} forms agree with their loops to {worst:.1e}", "ok", "forms")


def _fastest(timed: list[tuple[str, Growth]]) -> list[Clause]:
    """Which form is fastest at the greatest length; a form that does not agree has no time."""
    if not timed:
        return []
    found = [
        Clause(f"{name}.{form} does not agree, so it is not timed", "broken", "bench")
        for name, growth in timed
        for form in growth.refused
    ]
    said = []
    for name, growth in timed:
        if growth.timings:
            T = max(growth.timings)
            first, *others = growth.fastest(T)
            unclear = f" or {' or '.join(others)} (inconclusive)" if others else ""
            said.append(f"{name} {first}{unclear} at T = {T}")
    return [*found, Clause(f"fastest: {', '.join(said) or 'no form was timed'}", "", "bench")]


def _linear(subject: Subject) -> Clause:
    if subject.linear:
        return Clause(f"{subject.name} is linear in its values", "", "matrix")
    text = f"{subject.name} is not linear in its values, so no matrix is all of it"
    return Clause(text, "", "matrix")


def _mark(good: bool) -> str:
    return "ok" if good else "broken"
