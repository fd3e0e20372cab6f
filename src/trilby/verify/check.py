"""Every law on every form of a mixer, or on anyone's module."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, TypedDict, Unpack

import torch

from ..card import Mixer
from ..errors import CallError
from ..streaming import Carry
from .judge import Clock, Explain, judge
from .laws import LAWS
from .plan import plan
from .process import seed, undisturbed
from .sizes import EFFORTS, Setting
from .subjects.module import Anyone
from .subjects.prepare import anyone
from .subjects.subject import Subject, forms_of
from .telling.explanation import explanation
from .telling.report import Report
from .telling.verdict import Verdict

LATE = ("compiles",)  # tried on a module at effort "thorough", or by name: compiling takes seconds


class How(TypedDict, total=False):
    """What can be said of a module: how its result is read, and what it can do."""

    output: Any
    carry: Carry | None
    padding: str | None
    documents: str | None
    vocabulary: int | None


def check(
    subject: Any,
    example: Any = None,
    *,
    forms: Iterable[str] | None = None,
    laws: Iterable[str] | None = None,
    effort: str = "default",
    waive: Mapping[str, str] | None = None,
    seconds: float | None = None,
    **how: Unpack[How],
) -> Report:
    """Judge a mixer, or anyone's module, by the laws that every causal mixer must obey.

    Args:
        subject: a mixer, e.g. `trilby.mean`; a module; a function; or a factory that makes one (a
            class, or a function that takes nothing).
        example: for all but a mixer, the arguments of one call: a tensor, a tuple, a dict of
            keywords, or a function (B, T, seed) that draws them. The first tensor of rank 2 or
            more gives B and T; each tensor that begins with these two axes is a sequence. Values
            are drawn anew from those of the example, tokens from the vocabulary.
        forms: of a mixer, the names of the forms; None is all of them.
        laws: names of laws; None is all of them.
        effort: "quick", "default" or "thorough": how many sizes; the report lists them.
        waive: law -> why it may be broken here; the report repeats the reason.
        seconds: a limit, looked at between probes; the report says what is left.
        output: what picks the sequence `[B, T, ...]` from the result: a name, an index, a
            function. None: the tensor, `logits`, `last_hidden_state`, or the first item.
        carry: how it goes on, by `by_state`, `by_cache`, `by_past` or `by_methods` of
            `trilby.streaming`.
        padding: the keyword of a mask `[B, T]`, true where a position is real.
        documents: the keyword of packed documents: `cu_seqlens`, `position_ids`, or any other
            that takes ids `[B, T]`.
        vocabulary: how many tokens there are; None: one more than the largest of the example.

    Returns:
        A report that is true where every law that was run holds, and at least one was run.

    Raises:
        CallError: no such law or effort, or a subject or example that cannot be called; the
            module's own error is quoted. FormError: no such form.

    What a form raises is a broken law of that form. A module is copied; one that cannot be copied,
    or that a function reaches, is put back after every call. Unwrap DDP and FSDP first.
    One check runs at a time. Random generators are seeded, and put back at the end: what other
    threads draw from them meanwhile repeats. Device generators are left alone unless in use.
    Cost: for a small module below 1 s quick, 3 s default, 20 s thorough; for the running mean a
    few seconds quick, about 20 s default, minutes thorough.

    >>> print(trilby.check(trilby.mean, forms=["step"], laws=["repeats"], effort="quick").ok)
    True
    >>> average = lambda x: x.mean(1, keepdim=True).expand_as(x)
    >>> print(trilby.check(average, torch.randn(2, 16, 8), effort="quick").first()[0].kind)
    leak
    """
    if effort not in EFFORTS:
        raise CallError(f"check: effort is {effort!r}, expected one of {' '.join(EFFORTS)}")
    waived = dict(zip(_known(waive or {}), (waive or {}).values(), strict=True))
    docket = _Docket(_wanted(laws), waived, effort, Clock(seconds), laws is not None)
    quiet = undisturbed(subject, example)
    with quiet, torch.inference_mode(False), torch.enable_grad():
        seed()
        if isinstance(subject, Mixer):
            if example is not None or how:
                given = "example" if example is not None else next(iter(how))
                raise CallError(f"check: {given} is given, but a mixer draws its own; leave it out")
            return _mixer(subject, forms, docket)
        if forms is not None:
            raise CallError("check: forms are given, but only a mixer has forms; leave them out")
        _fitting(how)
        thing = anyone(subject, example, **how)
        try:
            return _module(thing, docket)
        finally:
            thing.leave()


@dataclass
class _Docket:
    """What is to be judged, and what has been.

    Attributes:
        laws: their names, in order.
        waived: law -> why it may be broken.
        named: whether the user named the laws.
        tried: (subject, law) -> the settings.
    """

    laws: list[str]
    waived: dict[str, str]
    effort: str
    clock: Clock
    named: bool
    verdicts: list[Verdict] = field(default_factory=list)
    tried: dict[tuple[str, str], list[Setting]] = field(default_factory=dict)

    def judge(
        self, subject: Subject, law: str, settings: list[Setting], explain: Explain | None = None
    ) -> None:
        """One law on one subject; where it is broken and waived, it was not run."""
        verdict = judge(subject, LAWS[law], settings, self.clock, explain)
        if law in self.waived and verdict.outcome == "broken":
            told = f"waived, {self.waived[law]}; it found: {verdict.sentence}"
            verdict = replace(verdict, outcome="not run", sentence=told)
        self.tried[subject.name, law] = settings
        self.verdicts.append(verdict)

    def report(self, name: str, limits: Iterable[str] = ()) -> Report:
        """All of it."""
        seconds = self.clock.seconds
        return Report(name, tuple(self.verdicts), self.effort, self.tried, seconds, tuple(limits))


def _mixer(mixer: Mixer, forms: Iterable[str] | None, docket: _Docket) -> Report:
    ways = list(mixer.forms) if forms is None else list(forms)
    for way in ways:
        mixer.form(way)  # a FormError if there is none
    for way, subject in zip(ways, forms_of(mixer, ways), strict=True):
        for law in docket.laws:
            docket.judge(subject, law, LAWS[law].settings(docket.effort, subject))
            call = f"trilby.check(trilby.{mixer.name}, forms={[way]}, laws={[law]}"
            again = f'import trilby\n\nprint({call}, effort="{docket.effort}"))'
            docket.verdicts[-1] = replace(docket.verdicts[-1], reproducer=again)
    return docket.report(mixer.name)


def _module(thing: Anyone, docket: _Docket) -> Report:
    subject = thing.subject()
    if not docket.named and docket.effort != "thorough":
        reason = 'it takes seconds; it is run at effort="thorough", or when it is named'
        unable = {**subject.unable, **dict.fromkeys(LATE, reason)}
        subject = replace(subject, unable=unable)
    for law in docket.laws:
        docket.judge(subject, law, plan(law, docket.effort, thing), explanation(thing, subject))
    return docket.report(thing.name, thing.limits())


def _wanted(laws: Iterable[str] | None) -> list[str]:
    asked = set(LAWS if laws is None else _known(laws))
    return [name for name in LAWS if name in asked]


def _known(laws: Iterable[str]) -> list[str]:
    names = list(laws)
    for name in names:
        if name not in LAWS:
            near = get_close_matches(str(name), LAWS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "take one of"
            raise CallError(f"check: there is no law {name!r}; {hint} ({' '.join(LAWS)})")
    return names


def _fitting(how: Mapping[str, Any]) -> None:
    """Raise a CallError for a keyword that check does not take."""
    takes = How.__annotations__
    for name, value in how.items():
        if name not in takes:
            near = get_close_matches(name, takes, n=1)
            hint = f"did you mean {near[0]}?" if near else "leave it out"
            known = ", ".join(takes)
            raise CallError(
                f"check: there is no argument {name} (given {value!r:.40}) among {known}; {hint}"
            )
