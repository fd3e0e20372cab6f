"""Time several functions in turn in one process, so that a busy moment slows all of them."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Way = Callable[[], object]


@dataclass(frozen=True)
class Timings:
    """Seconds for one call of each function, one entry for each round.

    >>> t = Timings({"copy": [1.0, 2.0, 9.0], "sum": [3.0, 4.0, 27.0]})
    >>> t.median("sum"), t.quartiles("copy"), t.times("copy", "sum")
    (4.0, (1.5, 5.5), 3.0)
    """

    seconds: Mapping[str, list[float]]

    @property
    def rounds(self) -> int:
        """How many rounds were timed."""
        return min((len(taken) for taken in self.seconds.values()), default=0)

    def median(self, way: str) -> float:
        """The median of the rounds, in seconds."""
        return statistics.median(self.seconds[way])

    def quartiles(self, way: str) -> tuple[float, float]:
        """The lower and the upper quartile of the rounds, in seconds."""
        return quartiles(self.seconds[way])

    def times(self, way: str, base: str) -> float:
        """How many times faster `way` is than `base`: the median over the ratios of each round."""
        pairs = zip(self.seconds[base], self.seconds[way], strict=True)
        return statistics.median(slow / fast for slow, fast in pairs)

    def as_dict(self, *bases: str) -> dict[str, dict[str, Any]]:
        """For JSON: median and quartiles of each way, and how many times faster than each base."""
        return {
            way: {
                "median_s": self.median(way),
                "quartiles_s": list(self.quartiles(way)),
                **{f"times_{base}": self.times(way, base) for base in bases},
            }
            for way in self.seconds
        }


def interleaved(
    ways: Mapping[str, Way], *, rounds: int = 9, warmup: int = 2, least: float = 0.0
) -> Timings:
    """Time every function once in each round; each round starts with the next function.

    Args:
        ways: name -> the function. Its result is dropped while the clock runs, so the time to
            get memory and to give it back is included.
        rounds: how many rounds are timed.
        warmup: how many rounds run before them, untimed.
        least: seconds; a function that takes less is called several times in a row, the same
            number of times in every round. The time of one call is reported.

    The garbage collector runs between rounds and not inside one.

    Raises:
        ValueError: no ways, rounds below 1, or warmup below 0.

    >>> interleaved({"nothing": lambda: None}, rounds=3).rounds
    3
    """
    if not ways or rounds < 1 or warmup < 0:
        raise ValueError(
            f"interleaved: {len(ways)} ways, rounds {rounds}, warmup {warmup}; "
            "give at least one way, one round and no negative warmup"
        )
    repeats = {name: _repeats(way, least) for name, way in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    collects = gc.isenabled()
    try:
        for turn in range(-warmup, rounds):
            gc.collect()
            gc.disable()
            for name in rotated(names, turn):
                seconds = clocked(ways[name], repeats[name])
                if turn >= 0:
                    taken[name].append(seconds)
    finally:
        if collects:
            gc.enable()
    return Timings(taken)


def clocked(way: Way, repeats: int = 1) -> float:
    """Seconds for one call, measured over `repeats` calls in a row."""
    began = time.perf_counter()
    for _ in range(repeats):
        way()
    return (time.perf_counter() - began) / repeats


def rotated(names: list[str], turn: int) -> list[str]:
    """The names in their order, starting with the next one in each round.

    >>> rotated(["a", "b", "c"], 1), rotated(["a", "b", "c"], 5)
    (['b', 'c', 'a'], ['c', 'a', 'b'])
    """
    start = turn % len(names)
    return names[start:] + names[:start]


def quartiles(values: list[float]) -> tuple[float, float]:
    """The lower and the upper quartile, interpolated; one value is both.

    >>> quartiles([4.0]), quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    ((4.0, 4.0), (2.0, 4.0))
    """
    if len(values) < 2:
        return values[0], values[0]
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, upper


def _repeats(way: Way, least: float) -> int:
    """How many calls in a row take `least` seconds; the first call is not counted."""
    if least <= 0:
        return 1
    way()
    return max(1, math.ceil(least / max(min(clocked(way) for _ in range(3)), 1e-9)))
