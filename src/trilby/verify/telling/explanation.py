"""What is said of a broken law besides its sentence: how to see it again, where it comes from."""

from dataclasses import replace

from ..comparing.finding import Finding
from ..judge import Explain
from ..sizes import Setting
from ..subjects.module import Anyone
from ..subjects.subject import Subject
from .influence import SHOWN, Influence, influence
from .script import script


def explanation(thing: Anyone, subject: Subject) -> Explain:
    """A reproducer for any law; for a leak the measured triangle, and where it enters."""

    def explain(law: str, setting: Setting, found: Finding) -> tuple[str, str]:
        again = script(thing, subject, law, setting, found)
        if law != "causal" or found.kind == "raises":
            return again, ""
        return again, "\n".join(_drawn(thing, subject, setting).lines())

    return explain


def _drawn(thing: Anyone, subject: Subject, setting: Setting) -> Influence:
    """The triangle, at the largest size that can still be read."""
    known = [n for n in thing.lengths if setting.T <= n <= SHOWN]
    return influence(subject, replace(setting, T=max(known, default=setting.T)))
