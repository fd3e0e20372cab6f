"""One law on one subject: setting after setting, then the smallest at which it breaks."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial

import torch

from ..kernels.machine import team
from .comparing.finding import Finding, NotRun
from .comparing.growth import Case, growth
from .comparing.witness import Witness
from .laws import Law
from .reports.verdict import Verdict
from .sizes import SPLIT, Setting, smaller
from .subjects.subject import Subject
from .wording import first_line, joined_lines

LONGER = "for ok give a longer seconds="
NOT_HERE = "and not in the dtype that it runs in"


Shown = Callable[[Law, Setting, Finding], str]
Explain = tuple[Shown, Shown]
"""(law, setting, what was found) -> a reproducer, and -> what a report shows below the sentence."""


class Clock:
    """How long it has taken, and whether it may go on."""

    def __init__(self, limit: float | None = None) -> None:
        """`limit` is in seconds; None is no limit."""
        self.limit, self._began = limit, time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long ago it was made."""
        return time.perf_counter() - self._began

    def over(self) -> bool:
        """Whether the limit is reached."""
        return self.seconds >= (float("inf") if self.limit is None else self.limit)


def judge(
    subject: Subject,
    law: Law,
    settings: list[Setting],
    clock: Clock | None = None,
    explain: Explain | None = None,
) -> Verdict:
    """One law on one subject, at each setting until it breaks; then at the smallest that breaks."""
    clock = clock or Clock()
    if law.name in subject.unable:
        return _not_run(subject, law, subject.unable[law.name])
    if not settings:
        return _not_run(subject, law, "there was no size to try")
    found: list[Finding] = []
    done = 0
    try:
        for setting in settings:
            if clock.over():
                break
            for one in probed(subject, law, setting):
                if one.broken and not _confirmed(subject, law, setting, one):
                    found.append(Finding(one.kind, note=f"{one.kind} in float64 alone, {NOT_HERE}"))
                    done += 1
                    break
                if one.broken:
                    least = _smallest(subject, law, setting, one, clock)
                    verdict = _broken(subject, law, *least, explain)
                    return _measured(verdict, subject, law, settings, (setting, one), least, clock)
                found.append(one)
                if clock.over():
                    break
            else:
                done += 1
    except NotRun as reason:
        return _not_run(subject, law, str(reason))
    if not done and clock.limit is None:
        return _not_run(subject, law, "there was nothing to compare")
    if not done:
        return _out_of_time(subject, law, f"the time limit of {clock.limit:g} s was reached")
    return _held(subject, law, settings[:done], settings[done:], found)


def _confirmed(subject: Subject, law: Law, setting: Setting, found: Finding) -> bool:
    """Whether what is broken in float64 is so in the dtype that the user runs a module in.

    Asked only where something is not finite or raises.
    """
    strange = found.error == torch.inf or found.kind in ("raises", "not finite")
    again = subject.seen_again_at(setting) if strange else None
    return again is None or any(one.broken for one in probed(subject, law, again))


def _not_run(subject: Subject, law: Law, reason: str) -> Verdict:
    return Verdict(subject.name, law.name, "not run", sentence=reason)


def _out_of_time(subject: Subject, law: Law, reached: str) -> Verdict:
    return replace(_not_run(subject, law, reached), cut=f"not tried, {reached}; {LONGER}")


def _held(
    subject: Subject, law: Law, settings: list[Setting], left: list[Setting], found: list[Finding]
) -> Verdict:
    """The verdict that nothing broke, with what came nearest to it."""
    if not found:
        return _not_run(subject, law, subject.nothing_compared(max(s.T for s in settings)))
    best = max(found, key=lambda f: f.ratio)
    units: dict[str, float] = {}
    for one in found:
        if one.note:
            units[one.note] = max(units.get(one.note, 0.0), one.units)
    notes = [f"{note}, {most:.2g} units" if most else note for note, most in units.items()]
    cut = f"the time limit left {len(left)} sizes, from {left[0]}; {LONGER}" if left else ""
    notes += [cut] if cut else []
    counted = f"holds in {len(found)} comparisons at {len(settings)} sizes"
    return Verdict(
        subject.name, law.name, "holds", "", best.error, best.allowed, best.place,
        "; ".join([counted, *notes]), notes=tuple(notes), cut=cut,
    )  # fmt: skip


def probed(subject: Subject, law: Law, setting: Setting) -> Iterator[Finding]:
    """What a law finds; an exception is found too."""
    try:
        few = setting.elements < SPLIT and not subject.large
        with team.single() if few else nullcontext(), torch.enable_grad():
            yield from law.probe(subject.at(setting), setting)
    except NotRun:
        raise
    except Exception as error:
        name, text = type(error).__name__, joined_lines(error, 200)
        witness = Witness(error=name, message=text)
        yield Finding("raises", True, place=name, text=text, witness=witness)


def _smallest(
    subject: Subject, law: Law, setting: Setting, found: Finding, clock: Clock
) -> tuple[Setting, Finding]:
    """The first smaller setting at which the law breaks in the same way.

    An exception is in the same way if it is the same one, at a size that the subject is known to
    take: one that it never took raises for another reason.
    """
    reads = found.witness.reads
    for less in smaller(setting, reads[1] if reads else None):
        if clock.over():
            break
        if found.kind == "raises" and not subject.takes_length(less.T):
            continue
        other = _first_fault(subject, law, less)
        if other is not None and _alike(other, found):
            return less, other
    return setting, found


def _first_fault(subject: Subject, law: Law, setting: Setting) -> Finding | None:
    """The first fault at a setting; None where there is none, or the law cannot be run there."""
    with suppress(NotRun):
        return next((one for one in probed(subject, law, setting) if one.broken), None)
    return None


def _alike(one: Finding, other: Finding) -> bool:
    """Whether two faults are one: of a kind, and the same exception if they are that."""
    said = [re.sub(r"\d+", "", f"{f.witness.error} {f.witness.message}") for f in (one, other)]
    return one.kind == other.kind and said[0] == said[1]


def _broken(
    subject: Subject, law: Law, setting: Setting, found: Finding, explain: Explain | None
) -> Verdict:
    shown = found.text if found.place in found.text else f"{found.place} {found.text}"
    parts = (found.kind, subject.name, shown, subject.size(setting))
    again, detail, notes = _explained(explain, law, setting, found)
    return Verdict(
        subject.name, law.name, "broken", found.kind, found.error, found.allowed, found.place,
        "  ".join(parts), again, detail, notes, found.witness,
    )  # fmt: skip


def _measured(
    verdict: Verdict,
    subject: Subject,
    law: Law,
    settings: list[Setting],
    first: Case,
    least: Case,
    clock: Clock,
) -> Verdict:
    """The verdict with the size of the fault at other lengths, or a note why there is none."""
    if not law.grows:
        return verdict
    try:
        probe = partial(probed, subject, law)
        return replace(verdict, growth=growth(probe, settings, first, least, clock.over))
    except Exception as error:
        note = f"it is not known how the fault grows, measuring it raises {first_line(error)}"
        return replace(verdict, notes=(*verdict.notes, note))


def _explained(
    explain: Explain | None, law: Law, setting: Setting, found: Finding
) -> tuple[str, str, tuple[str, ...]]:
    """A reproducer, what is shown below the sentence, and a note where either could not be made."""
    if explain is None:
        return "", "", ()
    shown, notes = ["", ""], list[str]()
    for i, (name, way) in enumerate(zip(("reproducer", "explanation"), explain, strict=True)):
        try:
            shown[i] = way(law, setting, found)
        except Exception as error:
            notes.append(f"there is no {name}, making it raises {first_line(error)}")
    return shown[0], shown[1], tuple(notes)
