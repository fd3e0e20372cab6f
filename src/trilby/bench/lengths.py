"""How the time and the memory of each form of a mixer grow with the length T."""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..card import Mixer
from ..env import machine
from ..errors import TrilbyError
from ..verify import Verdict
from .clock import Timings, Way, clocked, interleaved
from .forms import call
from .memory import peak
from .proof import at_small_size, here
from .results import where

SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
PATIENCE = 0.1  # seconds; a form whose calls take longer ends
ALPHA = 0.05  # that a form which is not faster wins so many rounds by chance

Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Growth:
    """Times of the forms of one mixer at several lengths, each checked there first.

    Attributes:
        mixer: its name.
        shape: of the first argument, with T in it, and its dtype.
        timings: T -> seconds of every form that was timed there, one entry for each round.
        memory: T -> form -> bytes at the peak of a call; None where they are not known.
        verdicts: form -> what was found of it; the last one is red where it was refused.
        ended: form -> one sentence saying why it was not timed, or not at every length.
        machine: what `trilby env` says.
    """

    mixer: str
    shape: str
    timings: Mapping[int, Timings]
    memory: Mapping[int, Mapping[str, int | None]]
    verdicts: Mapping[str, list[Verdict]]
    ended: Mapping[str, str]
    machine: Mapping[str, Any]

    @property
    def refused(self) -> list[str]:
        """The forms that do not agree. They have no times."""
        return [name for name, found in self.verdicts.items() if not all(found)]

    @property
    def where(self) -> str:
        """The machine and the versions."""
        return where(self.machine)

    def fastest(self, T: int) -> list[str]:
        """The form with the least median, and after it every one that it does not clearly beat.

        More than one name: inconclusive. Rounds are compared in pairs; one form beats another if
        by chance it would win so many of them less than once in twenty times.

        >>> times = Timings({"scan": [1.0, 1.1, 1.0, 1.2, 1.0], "loop": [2.0, 2.1, 2.0, 2.2, 2.0]})
        >>> Growth("m", "", {64: times}, {}, {}, {}, {}).fastest(64)
        ['scan']
        """
        seconds = self.timings[T].seconds
        best, *others = sorted(seconds, key=lambda name: statistics.median(seconds[name]))
        return [best, *(name for name in others if not _beats(seconds[best], seconds[name]))]

    def crossings(self) -> list[str]:
        """Which form is fastest over which lengths, one sentence for each stretch."""
        stretches: list[tuple[list[str], list[int]]] = []
        for T in self.timings:
            names = self.fastest(T)
            if stretches and sorted(stretches[-1][0]) == sorted(names):
                stretches[-1][1].append(T)
            else:
                stretches.append((names, [T]))
        return [_said(names, lengths) for names, lengths in stretches]

    def slope(self, form: str) -> float | None:
        """p where the time grows as T^p over the last two doublings; None where there are fewer."""
        taken = [(T, t.median(form)) for T, t in self.timings.items() if form in t.seconds][-3:]
        if len(taken) < 3:
            return None
        (T, early), _, (last, late) = taken
        return math.log(late / early) / math.log(last / T)


@dataclass
class _Race:
    """The forms that still run, and what was found so far."""

    mixer: Mixer[..., Any]
    patience: float
    seconds: dict[str, float] = field(default_factory=dict)  # of the last length
    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)

    def enter(self, name: str, arguments: Arguments, T: int) -> bool:
        """Whether a form runs at this length, is quick enough and agrees."""
        if name in self.ended:
            return False
        known = self.seconds.get(name)
        if known is not None and 2 * known > self.patience:
            self.ended[name] = f"not timed from T = {T} on: a call takes {known:.2g} s at {T // 2}"
            return False
        way = call(self.mixer.forms[name], arguments, None)
        try:
            way()
        except TrilbyError as problem:
            self.ended[name] = f"not timed: it does not run at T = {T}: {problem}"
            return False
        self.seconds[name] = min(clocked(way), clocked(way))  # a busy moment is no slow form
        return self._judge(name, arguments, T)

    def _judge(self, name: str, arguments: Arguments, T: int) -> bool:
        told = self.verdicts.setdefault(name, [])
        if not told:
            told.append(at_small_size(self.mixer, name, arguments[0].dtype))
        if all(told) and name != "loop":
            told.append(self._here(name, arguments))
        if not told[-1]:
            self.ended[name] = f"not timed, as it does not agree at T = {T}: {told[-1].sentence}"
        return bool(told[-1])

    def _here(self, name: str, arguments: Arguments) -> Verdict:
        """Beside another form; where the two differ, the loop says which of them is wrong."""
        verdict = here(self.mixer, name, arguments, whole=0)
        return verdict or here(self.mixer, name, arguments, whole=0, against="loop")


def growth(
    mixer: Mixer[..., Any],
    draw: Callable[[int], Arguments],
    *,
    sizes: tuple[int, ...] = SIZES,
    rounds: int = 9,
    patience: float = PATIENCE,
) -> Growth:
    """Check every form at every length on the same arguments, then time those that agree in turn.

    Args:
        mixer: the mixer.
        draw: T -> arguments of a call with T positions, in float32 or another dtype.
        sizes: the lengths, each twice the one before.
        rounds: how many rounds are timed at each length.
        patience: seconds; a form whose call at twice the length would take longer ends, and it is
            said.

    Cost: at each length about `rounds` calls of each form, and three of its reference in float64.

    >>> import trilby
    >>> found = growth(trilby.mean, lambda T: trilby.mean.draw(B=1, T=T, C=2), sizes=(4, 8),
    ...                rounds=1)
    >>> list(found.timings), found.refused
    ([4, 8], [])
    """
    race = _Race(mixer, patience)
    ways: dict[int, dict[str, Way]] = {}
    shape = ""
    for T in sizes:
        arguments = draw(T)
        shape = shape or _shape(mixer, arguments)
        found = {
            name: call(form, arguments, None)
            for name, form in mixer.forms.items()
            if race.enter(name, arguments, T)
        }
        if not found:
            break
        ways[T] = found
    timings = _in_turn(ways, rounds) if ways else {}
    memory = {T: {name: peak(way) for name, way in found.items()} for T, found in ways.items()}
    return Growth(mixer.name, shape, timings, memory, race.verdicts, race.ended, machine())


def _in_turn(ways: Mapping[int, Mapping[str, Way]], rounds: int) -> dict[int, Timings]:
    """All of them in the same rounds, so that a busy moment slows every length alike."""
    every = {f"{T} {name}": way for T, found in ways.items() for name, way in found.items()}
    taken = interleaved(every, rounds=rounds, warmup=1, least=2e-4).seconds
    return {T: Timings({name: taken[f"{T} {name}"] for name in found}) for T, found in ways.items()}


def _beats(ours: list[float], theirs: list[float]) -> bool:
    """Whether by chance we would win so many rounds less often than ALPHA."""
    n, wins = len(ours), sum(a < b for a, b in zip(ours, theirs, strict=True))
    return sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n <= ALPHA


def _said(names: list[str], lengths: list[int]) -> str:
    span = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    if len(names) == 1:
        return f"T = {span}: {names[0]} is fastest."
    return f"T = {span}: inconclusive between {', '.join(names[:-1])} and {names[-1]}."


def _shape(mixer: Mixer[..., Any], arguments: Arguments) -> str:
    name = mixer.contract.sequences[0]
    first = mixer.contract.named(arguments)[name]
    sizes = ", ".join(["1", "T", *(str(n) for n in first.shape[2:])])
    dtype = str(first.dtype).removeprefix("torch.")
    return f"{name} [{sizes}] {dtype}"
