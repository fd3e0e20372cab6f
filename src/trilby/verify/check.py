"""Every law on every form of a mixer, or on a user's module."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, TypedDict, Unpack, cast

import torch

from ..card import Mixer
from ..errors import CallError, FormError, KernelError
from ..shown.progress import Progress, progress
from ..streaming import Carry
from .across import across, fitting
from .comparing.finding import Finding
from .judge import Clock, Explain, judge
from .laws import ACROSS, LAWS, Law
from .laws.module_sizes import possible
from .process import seed, undisturbed
from .reports.report import Report
from .reports.verdict import Verdict
from .reproducers.script import script
from .sizes import EFFORTS, Setting
from .subjects.elsewhere import looks_elsewhere, nothing_along_time
from .subjects.mixer_form import mixer_forms
from .subjects.module_subject import ModuleSubject
from .subjects.prepare import prepared
from .subjects.reading import Asked
from .subjects.subject import Subject
from .subjects.user_module import UserModule
from .wording import joined_lines

QUICKER = "for ok give a quicker example, e.g. of fewer rows"
LATE = ("compiles",)  # tried on a module at effort "thorough", or by name: compiling takes seconds


class ModuleOptions(TypedDict, total=False):
    """The keywords about a module: how its result is read, and what it can do."""

    output: Any
    carry: Carry | None
    padding: str | int | None
    documents: str | None
    vocabulary: int | None
    lookahead: int
    time_axis: int
    fixed: Iterable[str | int] | str | int


class Options(ModuleOptions, total=False):
    """These, and what a module is beside."""

    reference: Any


def check(
    subject: Any,
    example: Any = None,
    *,
    forms: Iterable[str] | None = None,
    laws: Iterable[str] | None = None,
    effort: str = "default",
    waive: Mapping[str, str] | None = None,
    seconds: float | None = None,
    world: int | None = None,
    **options: Unpack[Options],
) -> Report:
    """Judge a mixer, or your own module, by the laws that every causal mixer must obey.

    Args:
        subject: a mixer, e.g. `trilby.mean`; a module; a function; or a factory that makes one (a
            class, or a function that takes nothing).
        example: for all but a mixer, the arguments of one call: a tensor or numpy array, a tuple,
            a dict of keywords, or a function (B, T, seed) that draws them. The first tensor of
            rank 2 or more gives B and T; each that begins with these two axes is a sequence.
            Values are drawn anew from those of the example, tokens from the vocabulary. A tensor
            with a batch axis (0 or 1) and no time goes with the rows: encoder memory, lengths.
        forms: of a mixer, the names of the forms; None is all of them.
        laws: names of laws; None is all of them.
        effort: "quick", "default" or "thorough": how many sizes; the report lists them.
        waive: law -> why it may be broken here; the report repeats the reason.
        seconds: a time limit, read between probes; the report says what was left out.
        world: how many processes to start, each with a piece of time. The law is then `shards`
            alone: of a mixer its form `shard`, else a function that several processes call on
            their pieces, with their group if it has a keyword `group`.
        output: what picks the sequence `[B, T, ...]` from the result: a name, an index, a
            function. None: the tensor, `logits`, `last_hidden_state`, or the first item.
        carry: how state is kept between calls: `by_state`, `by_cache`, `by_past`, `by_methods`,
            `by_module` or `by_prefix` of `trilby.streaming`.
        padding: the keyword of a mask `[B, T]`, true where a position is real; or the token that
            is a pad.
        documents: the keyword of packed documents: `cu_seqlens`, `position_ids`, or any other
            that takes ids `[B, T]`.
        vocabulary: how many tokens there are; None: one more than the largest of the example.
        lookahead: how many later positions an output may read; y[t] may use x[0..t + lookahead].
        time_axis: the axis of time, of inputs and of the result: 2 for `[B, C, T]`, 0 for
            `[T, B, C]`. Masks stay `[B, T]`.
        fixed: names or positions of arguments that are no sequences, though as long as one.
        reference: with `world`, the function that one process calls on the whole; None is the
            subject itself, in a group of one.

    Returns:
        A report that is true where every law that was run holds, at all the sizes that its page
        promises, and at least one was run. Where time did not allow all of them it says so.

    Raises:
        CallError: no such law or effort, or a subject or example that cannot be called; the
            module's own error is quoted. FormError: no such form.

    What a form raises is a broken law of that form; only one that cannot run on this machine at all
    (`fused` where there is no compiler) is not judged, and the report says why. A module is copied;
    one that cannot be copied, or that a function reaches, is put back after every call. Unwrap DDP
    and FSDP first.
    One check runs at a time. Random generators are seeded, and put back at the end: what other
    threads draw from them meanwhile repeats. Device generators are left alone unless in use.
    Cost: for most small modules 1 s quick, 3 s default, 20 s thorough, for some two or three times
    as much; for the running mean, all seven forms, half a minute quick, over a minute default.

    >>> print(trilby.check(trilby.mean, forms=["step"], laws=["repeats"], effort="quick").ok)
    True
    >>> average = lambda x: x.mean(1, keepdim=True).expand_as(x)
    >>> print(trilby.check(average, torch.randn(2, 16, 8), effort="quick").first()[0].kind)
    leak
    """
    if effort not in EFFORTS:
        raise CallError(f"check: effort is {effort!r}, expected one of {' '.join(EFFORTS)}")
    if world is not None or "reference" in options:
        fitting(world, dict(forms=forms, laws=laws, waive=waive))
        with undisturbed(subject, example), torch.inference_mode(False), torch.enable_grad():
            return across(subject, example, world, effort, Clock(seconds), options)
    waived = dict(zip(_known(waive or {}), (waive or {}).values(), strict=True))
    wanted, quiet = _wanted(laws), undisturbed(subject, example)
    with progress() as shown, quiet, torch.inference_mode(False), torch.enable_grad():
        run = _Run(wanted, waived, effort, Clock(seconds), laws is not None, shown)
        seed()
        if isinstance(subject, Mixer):
            if example is not None or options:
                given = "example" if example is not None else next(iter(options))
                raise CallError(f"check: {given} is given, but a mixer draws its own; leave it out")
            return _mixer(subject, forms, run)
        if forms is not None:
            raise CallError("check: forms are given, but only a mixer has forms; leave them out")
        _fitting(options)
        shown.say("check: which sizes and dtypes the module takes")
        user = prepared(subject, example, Asked(**cast(ModuleOptions, options)))
        try:
            return _module(user, run)
        finally:
            user.put_back()


@dataclass
class _Run:
    """One run of `check`: what is judged, and the verdicts so far.

    Attributes:
        laws: their names, in order.
        waived: law -> why it may be broken.
        named: whether the user named the laws.
        shown: what tells a person at a terminal how far it is.
        left: how many times a law is still to be judged.
        tried: (subject, law) -> the settings.
    """

    laws: list[str]
    waived: dict[str, str]
    effort: str
    clock: Clock
    named: bool
    shown: Progress
    left: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    tried: dict[tuple[str, str], list[Setting]] = field(default_factory=dict)

    def asked(self, subject: Subject) -> list[str]:
        """The laws, without `agrees` where there is no definition, or where this is it."""
        spared = not self.named and "agrees" in subject.unable
        return [law for law in self.laws if not (spared and law == "agrees")]

    def judge(
        self,
        subject: Subject,
        law: str,
        settings: list[Setting],
        explain: Explain | None = None,
        cut: str = "",
    ) -> None:
        """One law on one subject; where it is broken and waived, it was not run.

        `cut`: why settings that the law's page promises are not among these.
        """
        left = f"{self.left} left" if self.left > 1 else "the last"
        self.shown.say(f"check: {law} on {subject.name}, {left}")
        self.left -= 1
        verdict = judge(subject, LAWS[law], settings, self.clock, explain)
        if verdict.outcome == "holds" and cut:
            verdict = replace(verdict, cut="; ".join(filter(None, (verdict.cut, cut))))
        if law in self.waived and verdict.outcome == "broken":
            sentence = f"waived, {self.waived[law]}; it found: {verdict.sentence}"
            verdict = replace(verdict, outcome="not run", sentence=sentence)
        self.tried[subject.name, law] = settings
        self.verdicts.append(verdict)

    def report(self, name: str, limits: Iterable[str] = ()) -> Report:
        """All of it."""
        seconds = self.clock.seconds
        return Report(name, tuple(self.verdicts), self.effort, self.tried, seconds, tuple(limits))


def _mixer(mixer: Mixer, forms: Iterable[str] | None, run: _Run) -> Report:
    ways = list(mixer.forms) if forms is None else list(forms)
    for way in ways:
        mixer.form(way)  # a FormError if there is none
    subjects = [_able(mixer, *pair) for pair in zip(ways, mixer_forms(mixer, ways), strict=True)]
    run.left = sum(len(run.asked(subject)) for subject in subjects)
    for way, subject in zip(ways, subjects, strict=True):
        for law in run.asked(subject):
            run.judge(subject, law, LAWS[law].mixer_settings(run.effort, subject))
            call = f"trilby.check(trilby.{mixer.name}, forms={[way]}, laws={[law]}"
            again = f'import trilby\n\nprint({call}, effort="{run.effort}"))'
            run.verdicts[-1] = replace(run.verdicts[-1], reproducer=again)
    return run.report(mixer.name)


def _able(mixer: Mixer, way: str, subject: Subject) -> Subject:
    """The form; if it says that it cannot run on this machine, no law can be run on it."""
    try:
        mixer.forms[way](*mixer.drawn(B=1, T=2, C=1))
    except (FormError, KernelError) as error:
        why = f"it cannot run here: {joined_lines(error, 300)}"
        return replace(subject, unable=dict.fromkeys(LAWS, why))
    except Exception:
        pass  # a fault, which the laws find
    return subject


def _module(user: UserModule, run: _Run) -> Report:
    subject = user.subject()
    if not run.named and run.effort != "thorough":
        reason = 'it takes seconds; it is run at effort="thorough", or when it is named'
        unable = {**subject.unable, **dict.fromkeys(LATE, reason)}
        subject = replace(subject, unable=unable)
    laws = run.asked(subject)
    run.left = len(laws)
    for name in laws:
        settings = LAWS[name].module_settings(run.effort, user)
        tried = possible(settings, user, own_dtype_only=name in LATE)
        run.judge(subject, name, tried, _explained(user, subject), _cut(name, run.effort, user))
    return run.report(user.name, [*user.limits(), *nothing_along_time(user)])


def _cut(law: str, effort: str, user: UserModule) -> str:
    """Which lengths a law would have tried if a call were quicker, and why; empty if all of them.

    A length that the module refuses is not among them.
    """
    if not user.left_out:
        return ""
    able = replace(user, lengths=tuple(sorted({*user.lengths, *user.left_out})))
    missing = {s.T for s in LAWS[law].module_settings(effort, able)} - {*user.lengths}
    if not missing:
        return ""
    why = next(iter(user.left_out.values()))
    return f"T {' '.join(map(str, sorted(missing)))} {why}; {QUICKER}"


def _explained(user: UserModule, subject: ModuleSubject) -> Explain:
    """What is shown of a broken law: a reproducer, and what the law shows besides."""

    def again(law: Law, setting: Setting, found: Finding) -> str:
        return script(user, subject, setting, found, law.reproduce)

    def detail(law: Law, setting: Setting, found: Finding) -> str:
        if found.kind == "raises":
            return ""
        shown = law.detail(user, subject, setting, found), looks_elsewhere(user, law.name)
        return "\n".join(filter(None, shown))

    return again, detail


def _wanted(laws: Iterable[str] | None) -> list[str]:
    asked = set(LAWS if laws is None else _known(laws))
    return [name for name in LAWS if name in asked]


def _known(laws: Iterable[str]) -> list[str]:
    names = list(laws)
    for name in names:
        if name in ACROSS:
            raise CallError(
                f"check: the law {name!r} is about several processes; say how many, e.g. world=2"
            )
        if name not in LAWS:
            near = get_close_matches(str(name), LAWS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "take one of"
            raise CallError(f"check: there is no law {name!r}; {hint} ({' '.join(LAWS)})")
    return names


def _fitting(options: Mapping[str, Any]) -> None:
    """Raise a CallError for a keyword that check does not take."""
    takes = Options.__annotations__
    for name, value in options.items():
        if name not in takes:
            near = get_close_matches(name, takes, n=1)
            hint = f"did you mean {near[0]}?" if near else "leave it out"
            known = ", ".join(takes)
            raise CallError(
                f"check: there is no argument {name} (given {value!r:.40}) among {known}; {hint}"
            )
