"""Every law on every form of a mixer."""

import inspect
from collections.abc import Iterable
from difflib import get_close_matches

from ..card import Mixer
from ..errors import CallError
from .laws import LAWS
from .report import Report
from .subject import Subject
from .verdict import Verdict


def check(
    mixer: Mixer, *, forms: Iterable[str] | None = None, laws: Iterable[str] | None = None
) -> Report:
    """Judge the forms of a mixer by the laws that every causal mixer must obey.

    Args:
        mixer: what is judged, e.g. `trilby.mean`.
        forms: names of forms; None is all of them.
        laws: names of laws; None is all: repeats, causal, resumes, isolated, differentiates,
            agrees, sound, compiles.

    Returns:
        A report that is true where every law holds, prints as a table, and is false when empty.

    Raises:
        CallError: `mixer` is not a mixer, or there is no law of that name. FormError: no such form.

    Cost: seconds to half a minute; sizes are named in the sentences of the verdicts.

    >>> from trilby.mixers.mean import MIXER
    >>> print(check(MIXER, forms=["step"], laws=["repeats"]))
               repeats
    mean.step  ok
    1 of 1 hold
    """
    if not isinstance(mixer, Mixer):
        raise CallError(
            f"check: mixer is {type(mixer).__name__}, expected a mixer, e.g. trilby.mean"
        )
    names = list(LAWS) if laws is None else [_law(name) for name in laws]
    ways = mixer.forms if forms is None else {name: mixer.form(name) for name in forms}
    loop = mixer.forms["loop"]
    subjects = [Subject(f"{mixer.name}.{n}", f, loop, mixer.draw) for n, f in ways.items()]
    return Report(tuple(judge(s, law) for s in subjects for law in names))


def judge(subject: Subject, law: str) -> Verdict:
    """One law on one subject. What the subject raises is a broken law, never an exception."""
    try:
        return LAWS[law](subject)
    except Exception as problem:
        told = " ".join(str(problem).split())
        place = _place(problem)
        sentence = f"raises  {subject.name}  {type(problem).__name__}: {told:.200}{place}"
        return subject.verdict(law, "broken", "raises", sentence=sentence)


def _law(name: str) -> str:
    if name in LAWS:
        return name
    near = get_close_matches(name, LAWS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "take one of"
    raise CallError(f"check: there is no law {name!r}; {hint} ({' '.join(LAWS)})")


def _place(problem: Exception) -> str:
    """Where an exception was raised, for the sentence."""
    frames = inspect.getinnerframes(problem.__traceback__) if problem.__traceback__ else []
    return f" (in {frames[-1].function})" if frames else ""
