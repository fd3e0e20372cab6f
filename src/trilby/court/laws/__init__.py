"""The laws, in the order in which each protects the next."""

from collections.abc import Callable

from ..subject import Subject
from ..verdict import Verdict
from .agrees import agrees
from .causal import causal
from .compiles import compiles
from .differentiates import differentiates
from .isolated import isolated
from .repeats import repeats
from .resumes import resumes
from .sound import sound

LAWS: dict[str, Callable[[Subject], Verdict]] = dict(
    repeats=repeats,
    causal=causal,
    resumes=resumes,
    isolated=isolated,
    differentiates=differentiates,
    agrees=agrees,
    sound=sound,
    compiles=compiles,
)
"""Name of a law -> `law(subject) -> Verdict`."""
