"""The laws, in order: each protects the next."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from ..comparing.finding import Finding
from ..sizes import DTYPES, LENGTHS, WIDE, Setting, sizes
from ..subjects.subject import LONG, Subject
from . import sound as _sound
from .agrees import agrees
from .causal import causal
from .compiles import compiles
from .differentiates import differentiates
from .documents import documents
from .isolated import isolated
from .padding import padding
from .repeats import repeats
from .resumes import resumes

Probe = Callable[[Subject, Setting], Iterator[Finding]]
Settings = Callable[[str, Subject], list[Setting]]


@dataclass(frozen=True)
class Law:
    """A property that every form must obey.

    Attributes:
        name: what it is called.
        probe: a subject and a setting -> what was found there.
        settings: an effort and a form of ours -> where it is tried, smallest first. What anyone's
            module is tried at stands in `plan`.
    """

    name: str
    probe: Probe
    settings: Settings


def _values(effort: str, _subject: Subject) -> list[Setting]:
    return sizes(effort, dtypes=DTYPES)


def _parallel(effort: str, subject: Subject) -> list[Setting]:
    return [*_values(effort, subject), *_wide(effort, subject)]


def _batches(effort: str, subject: Subject) -> list[Setting]:
    return [*sizes(effort, dtypes=DTYPES, rows=2), *_wide(effort, subject)]


def _wide(effort: str, subject: Subject) -> list[Setting]:
    return [] if effort == "quick" else [Setting(*WIDE, subject.widest)]


def _exact(lengths: Mapping[str, tuple[int, ...]]) -> Settings:
    """In float64, at some of the lengths; an effort that is not among them takes them all."""

    def settings(effort: str, _subject: Subject) -> list[Setting]:
        wanted = lengths.get(effort, LENGTHS[effort])
        return [s for s in sizes(effort, dtypes=(torch.float64,)) if s.T in wanted]

    return settings


_RESUMED = {"default": (1, 2, 3, 4, 5, 8, 9, 17, 63, 64, 65, 129)}
_DIFFERENTIATED = {"quick": (1, 2, 3, 66), "default": (1, 2, 3, 5, 9, 64, 65)}


def _functions(effort: str, subject: Subject) -> list[Setting]:
    wanted = {"quick": (1, 3, 66), "default": (1, 2, 3, 7, 64, 65, 129)}
    lengths = wanted.get(effort, LENGTHS[effort])
    return [s for s in _parallel(effort, subject) if s.T in lengths]


def _numerics(effort: str, subject: Subject) -> list[Setting]:
    wanted = {"quick": (1, 8, 65, 600), "default": (1, 2, 8, 65, 600, subject.longest)}
    found = []
    for T in wanted.get(effort, (1, 2, 3, 8, 65, 600, LONG, subject.longest)):
        for dtype in _sound.DTYPES:
            scales = _sound.magnitudes(dtype) if T <= _sound.SHORT else (1.0,)
            rows = 2 if T <= _sound.SHORT else 1
            found += [Setting(T, rows, 2, dtype, scale=scale) for scale in scales]
    return found


def _compiled(effort: str, subject: Subject) -> list[Setting]:
    backend = "inductor" if effort == "thorough" else "aot_eager"
    small = Setting(5, 2, 3, torch.float64, backend=backend)
    larger = Setting(subject.traced, 2, 3, torch.float32, backend=backend)
    return [small] if effort == "quick" else [small, larger]


def _packed(effort: str, _subject: Subject) -> list[Setting]:
    return [s for s in sizes(effort, dtypes=(torch.float64,)) if s.T > 1]


LAWS = {
    law.name: law
    for law in (
        Law("repeats", repeats, _parallel),
        Law("causal", causal, _values),
        Law("resumes", resumes, _exact(_RESUMED)),
        Law("isolated", isolated, _batches),
        Law("padding", padding, _packed),
        Law("documents", documents, _packed),
        Law("differentiates", differentiates, _exact(_DIFFERENTIATED)),
        Law("agrees", agrees, _functions),
        Law("sound", _sound.sound, _numerics),
        Law("compiles", compiles, _compiled),
    )
}
"""Name of a law -> the law, in the order in which they are run."""
