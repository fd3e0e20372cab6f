"""What the page is told of times and memory: every round of every form."""

from typing import Any

from ..bench import Growth
from .packing import Numbers


def growth(found: Growth, numbers: Numbers) -> dict[str, Any]:
    """Texts, and where the numbers stand: a row of seconds for each length of each form."""
    names = dict.fromkeys(
        [*(name for taken in found.timings.values() for name in taken.seconds), *found.ended]
    )
    return {
        "shape": found.shape,
        "machine": found.where,
        "sizes": list(found.timings),
        "said": found.crossings(),
        "refused": found.refused,
        "forms": [_form(found, name, numbers) for name in names],
    }


def _form(found: Growth, name: str, numbers: Numbers) -> dict[str, Any]:
    taken = {T: timings for T, timings in found.timings.items() if name in timings.seconds}
    return {
        "name": name,
        "seconds": {str(T): numbers.add(tuple(t.seconds[name])) for T, t in taken.items()},
        "medians": {str(T): t.median(name) for T, t in taken.items()},
        "bytes": {str(T): found.memory[T][name] for T in taken},
        "slope": found.slope(name),
        "ended": found.ended.get(name, ""),
    }
