"""Every law on every form of a mixer."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches

import torch

from ..card import Mixer
from ..errors import CallError
from ..shapes import what
from .entitled import pinned
from .finding import Finding, NotRun
from .laws import LAWS, Law
from .report import Report
from .subject import Subject, forms_of
from .sweep import EFFORTS, Setting, smaller
from .verdict import Verdict

SPLIT = 2**15  # elements; below it one thread is faster, and far faster on a machine that is busy


def check(
    mixer: Mixer,
    *,
    forms: Iterable[str] | None = None,
    laws: Iterable[str] | None = None,
    effort: str = "default",
) -> Report:
    """Judge the forms of a mixer by the laws that every causal mixer must obey.

    Args:
        mixer: what is judged, e.g. `trilby.mean`.
        forms: names of forms; None is all of them.
        laws: names of laws; None is all of them.
        effort: "quick", "default" or "thorough": how many sizes; the report lists them.

    Returns:
        A report that is true where every law that was run holds, and at least one was run.

    Raises:
        CallError: not a mixer, or no such law or effort. FormError: no such form.

    What a form raises is a broken law of that form. Random numbers, default dtype and whether
    gradients are recorded are as before afterwards.
    Cost: for the running mean a few seconds quick, about 20 s default, minutes thorough.

    >>> print(trilby.check(trilby.mean, forms=["step"], laws=["repeats"], effort="quick").ok)
    True
    """
    if not isinstance(mixer, Mixer):
        raise CallError(f"check: mixer is {what(mixer)}, expected a mixer, e.g. trilby.mean")
    if effort not in EFFORTS:
        raise CallError(f"check: effort is {effort!r}, expected one of {' '.join(EFFORTS)}")
    asked = set(LAWS if laws is None else _known(laws))
    wanted = [name for name in LAWS if name in asked]
    ways = list(mixer.forms) if forms is None else list(forms)
    for way in ways:
        mixer.form(way)  # a FormError if there is none
    began, verdicts, tried = time.perf_counter(), [], {}
    with _undisturbed():
        for way, subject in zip(ways, forms_of(mixer, ways), strict=True):
            for name in wanted:
                settings = LAWS[name].settings(effort, subject)
                verdict = judge(subject, LAWS[name], settings)
                tried[subject.name, name] = settings
                call = f"trilby.check(trilby.{mixer.name}, forms={[way]}, laws={[name]}"
                again = f'import trilby\n\nprint({call}, effort="{effort}"))'
                verdicts.append(replace(verdict, reproducer=again))
    return Report(mixer.name, tuple(verdicts), effort, tried, time.perf_counter() - began)


def judge(subject: Subject, law: Law, settings: list[Setting]) -> Verdict:
    """One law on one subject, at each setting until it breaks; then at the smallest that breaks."""
    if law.name in subject.unable:
        return Verdict(subject.name, law.name, "not run", sentence=subject.unable[law.name])
    if not settings:
        return Verdict(subject.name, law.name, "not run", sentence="there was no size to try")
    found: list[Finding] = []
    try:
        for setting in settings:
            for one in _probed(subject, law, setting):
                if one.broken:
                    return _broken(subject, law, *_smallest(subject, law, setting, one))
                found.append(one)
    except NotRun as reason:
        return Verdict(subject.name, law.name, "not run", sentence=str(reason))
    return _held(subject, law, settings, found)


def _held(subject: Subject, law: Law, settings: list[Setting], found: list[Finding]) -> Verdict:
    """The verdict that nothing broke, with what came nearest to it."""
    if not found:
        return Verdict(subject.name, law.name, "not run", sentence="there was nothing to compare")
    best = max(found, key=lambda f: f.ratio)
    notes = dict.fromkeys(f.note for f in found if f.note)
    told = f"holds in {len(found)} comparisons at {len(settings)} sizes"
    return Verdict(
        subject.name, law.name, "holds", "", best.error, best.allowed, best.place,
        "; ".join([told, *notes]),
    )  # fmt: skip


def _probed(subject: Subject, law: Law, setting: Setting) -> Iterator[Finding]:
    """What a law finds; an exception is found too."""
    threads = torch.get_num_threads()
    try:
        if setting.elements < SPLIT:
            torch.set_num_threads(1)
        with torch.enable_grad():
            yield from law.probe(subject, setting)
    except NotRun:
        raise
    except Exception as error:
        told = " ".join(str(error).split())
        yield Finding("raises", True, place=type(error).__name__, text=f"{told:.200}")
    finally:
        torch.set_num_threads(threads)


def _smallest(
    subject: Subject, law: Law, setting: Setting, found: Finding
) -> tuple[Setting, Finding]:
    """The first smaller setting at which the law breaks in the same way."""
    for less in smaller(setting):
        for other in _probed(subject, law, less):
            if other.broken:
                if other.kind == found.kind:
                    return less, other
                break
    return setting, found


def _broken(subject: Subject, law: Law, setting: Setting, found: Finding) -> Verdict:
    shown = found.text if found.place in found.text else f"{found.place} {found.text}"
    parts = (found.kind, subject.name, shown, str(setting))
    return Verdict(
        subject.name, law.name, "broken", found.kind, found.error, found.allowed, found.place,
        "  ".join(parts),
    )  # fmt: skip


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Random numbers, default dtype, grad and inference mode as before afterwards."""
    with pinned(dtype=torch.float32), torch.inference_mode(False), torch.enable_grad():
        yield


def _known(laws: Iterable[str]) -> list[str]:
    names = list(laws)
    for name in names:
        if name not in LAWS:
            near = get_close_matches(str(name), LAWS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "take one of"
            raise CallError(f"check: there is no law {name!r}; {hint} ({' '.join(LAWS)})")
    return names
