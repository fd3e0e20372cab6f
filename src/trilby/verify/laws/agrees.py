"""Each form is the same function as the definition: outputs and the state that is left."""

from collections.abc import Iterator

from ..comparing.finding import Finding
from ..same import same
from ..sizes import Setting
from ..subjects.subject import Subject

_PREFIX = "different functions: they differ by "


def agrees(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """`same` finds no difference of function from the loop, from nothing and from a past.

    Rounding that is worse than it may be is no difference of function: that is for `sound`.
    """
    assert subject.truth is not None
    sequences = subject.draw(setting)
    for state in (None, subject.past(setting)):
        verdict = same(subject.truth.call, subject.call, sequences, state)
        broken = verdict.kind not in ("same", "rounding")
        error, allowed = verdict.error or 0.0, verdict.allowance or 0.0
        text = f"differs from {subject.truth.name}: {verdict.sentence.removeprefix(_PREFIX)}"
        yield Finding("different", broken, error, allowed, verdict.place, text)
