"""What a law is: a property, where it is tried, and how a fault is shown."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..comparing.finding import Finding
from ..reproducers.script import Script
from ..sizes import Setting
from ..subjects.module_subject import ModuleSubject
from ..subjects.user_module import UserModule

Probe = Callable[[Any, Setting], Iterator[Finding]]


def nowhere(_effort: str, _subject: Any) -> list[Setting]:
    """No setting: the law cannot be tried."""
    return []


def no_lines(_script: Script) -> list[str]:
    """No reproducer."""
    return []


def no_detail(
    _user: UserModule, _subject: ModuleSubject, _setting: Setting, _found: Finding
) -> str:
    """Nothing to show below the sentence."""
    return ""


@dataclass(frozen=True)
class Law:
    """A property that every causal mixer must obey. Each law's file ends with its record.

    Attributes:
        name: what it is called.
        probe: a subject and a setting -> what was found there.
        mixer_settings: an effort and a form -> where the law is tried, smallest first.
        module_settings: an effort and a user's module -> where it is tried, the example first.
        reproduce: a script about a broken law -> the last lines of it, which show the fault.
        detail: a user's module, the subject, the setting and the finding -> what a report shows
            below the sentence.
        grows: whether the size of a fault is measured at more lengths, which takes as many probes.
    """

    name: str
    probe: Probe
    mixer_settings: Callable[[str, Any], list[Setting]]
    module_settings: Callable[[str, UserModule], list[Setting]] = nowhere
    reproduce: Callable[[Script], list[str]] = no_lines
    detail: Callable[[UserModule, ModuleSubject, Setting, Finding], str] = no_detail
    grows: bool = True
