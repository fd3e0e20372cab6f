"""The law `shards` on a mixer, or on a user's function: as many processes as are asked for."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from ..card import Mixer
from ..errors import CallError
from .comparing.finding import Finding
from .judge import Clock, judge
from .laws import ACROSS, Law
from .ranks.processes import LONG, Processes
from .ranks.sharded import Sharded, sharded_form, sharded_function
from .reports.report import Report
from .reproducers.torchrun import torchrun
from .sizes import Setting

TAKES = ("reference", "output", "vocabulary", "fixed")
MOST = 8  # processes


def fitting(world: int | None, given: Mapping[str, Any]) -> None:
    """Raise a CallError for what `check` was given and does not go with `world=`."""
    if world is None:
        raise CallError("check: reference is given without world=; say how many processes")
    own = {"forms": "shard", "laws": "shards"}
    for name, value in given.items():
        if value is not None and list(value) != [own.get(name)]:
            only = f", which is about {own[name]!r} alone" if name in own else ""
            raise CallError(f"check: {name} is {value!r} with world={world}{only}; leave it out")


def across(
    subject: Any, example: Any, world: int | None, effort: str, clock: Clock,
    options: Mapping[str, Any],
) -> Report:  # fmt: skip
    """What `check` returns with `world=`; its arguments.

    Raises:
        CallError: as `check`, and where another process cannot import the subject. KernelError: no
            gloo.
    """
    if not isinstance(world, int) or isinstance(world, bool) or not 1 <= world <= MOST:
        raise CallError(f"check: world is {world!r}, expected a number of processes, 1 to {MOST}")
    mixer = isinstance(subject, Mixer)
    if mixer and example is not None:
        raise CallError("check: example is given, but a mixer draws its own; leave it out")
    for name in options:
        if mixer or name not in TAKES:
            known = "none of a mixer" if mixer else ", ".join(TAKES)
            raise CallError(
                f"check: {name} is given with world=, which takes {known}; leave it out"
            )
    reference = options.get("reference")
    others = {name: value for name, value in options.items() if name != "reference"}
    with ExitStack() as stack:
        ranks = stack.enter_context(Processes(world, LONG if mixer else None))
        if mixer:
            judged = sharded_form(subject, world, ranks)
            ranks.start(judged.name, judged.call)
        else:
            one = stack.enter_context(Processes(1))
            judged = sharded_function(subject, example, world, (ranks, one), reference, others)
            ranks.start(judged.name, judged.call, reference, others)
        return _report(judged, subject, reference, effort, clock)


def _report(judged: Sharded, subject: Any, reference: Any, effort: str, clock: Clock) -> Report:
    law = ACROSS["shards"]

    def again(_law: Law, setting: Setting, found: Finding) -> str:
        return torchrun(judged, subject, reference, setting, found)

    settings = law.mixer_settings(effort, judged)
    explain = again, lambda *_: ""
    verdict = judge(judged, law, settings, clock, explain)
    name = judged.name.partition(".")[0] if isinstance(subject, Mixer) else judged.name
    tried = {(judged.name, law.name): settings}
    return Report(name, (verdict,), effort, tried, clock.seconds)
