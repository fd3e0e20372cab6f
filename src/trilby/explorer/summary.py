"""What is said of all that is shown: the clauses of the head line, the worst first."""

from typing import NamedTuple

from ..bench import Growth
from .positions import Positions
from .programs import AGREE
from .triangle import Subject, Triangle


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
    found = [Clause(f"{names} on {where.said or 'drawn ids'}, T = {T}", "", "matrix")]
    known = [each for one in subjects for each in one.triangles if each.residual is not None]
    found += [_explained(known)] if known else []
    found += _leaks(subjects)
    found += [_forms(subjects)] if any(subject.forms for subject in subjects) else []
    found += _fastest([(s.name, s.growth) for s in subjects if s.growth is not None])
    found += [_linear(subject) for subject in subjects if subject.linear is not None
              and subject.triangles[0].measured]  # fmt: skip
    found += [Clause(note, "", "matrix") for subject in subjects for note in subject.notes]
    return sorted(found, key=lambda clause: clause.mark != "broken")


def _explained(triangles: list[Triangle]) -> Clause:
    """How far the weights are from the output, in the worst of the triangles that have one."""
    wrong = [one for one in triangles if not one.explains]
    worst = max(wrong or triangles, key=lambda one: one.residual or 0.0)
    of = " of its largest value" if worst.far is not None else ""
    text = f"the weights give the output to {worst.residual:.1e}{of}"
    if wrong:
        return Clause(f"{worst.name}: {text}, which is no rounding", "broken", "matrix")
    return Clause(text, "ok", "matrix")


def _leaks(subjects: tuple[Subject, ...]) -> list[Clause]:
    found = [_leak(subject) for subject in subjects if subject.leaks or subject.early is not None]
    shown = any(one.head is not None for subject in subjects for one in subject.triangles)
    what = "weight that is shown" if shown else "output"
    return found or [Clause(f"no {what} reads a later position", "ok", "leaks")]


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
