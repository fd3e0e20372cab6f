"""Each form is the same function as the definition: outputs and the state that is left."""

from collections.abc import Iterator

from ..comparing.finding import Finding
from ..equivalence.comparison import Comparison
from ..same import answer
from ..sizes import LENGTHS, Setting
from ..subjects.mixer_form import MixerForm
from .law import Law
from .mixer_sizes import every_dtype_and_wide


def agrees(subject: MixerForm, setting: Setting) -> Iterator[Finding]:
    """`same` finds no difference of function from the loop, from nothing and from a past.

    Rounding that is worse than it may be is no difference of function: that is for `sound`.
    """
    assert subject.truth is not None
    sequences = subject.draw(setting)
    for state in subject.starts(setting):
        ways = subject.truth.call, subject.call
        found = answer(Comparison(ways, (sequences, state), {}))
        broken = found.kind not in ("same", "rounding")
        text = f"differs from {subject.truth.name}: {found.details}"
        if (far := found.difference) is None:
            yield Finding("different", broken, text=text)
        else:
            yield Finding("different", broken, far.error, far.allowed, far.place, text)


def _mixer_settings(effort: str, form: MixerForm) -> list[Setting]:
    wanted = {"quick": (1, 3, 66), "default": (1, 2, 3, 7, 64, 65, 129)}
    lengths = wanted.get(effort, LENGTHS[effort])
    return [s for s in every_dtype_and_wide(effort, form) if s.T in lengths]


LAW = Law("agrees", agrees, _mixer_settings)
