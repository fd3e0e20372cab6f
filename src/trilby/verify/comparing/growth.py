"""How large a fault is at other lengths: the smallest case that shows it says nothing of that."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from ..sizes import Setting
from .finding import Finding

LENGTHS = 3  # at which a fault is measured, beside those at which it was found
FAULTS = 4  # that are measured at a length; a law that can tell finds the largest first
LOOKED = 16  # comparisons at a length, after which a fault that was not seen again is left at that

Growth = tuple[tuple[int, float], ...]
"""(T, size) pairs, T ascending: the largest error found there, in the unit of the output."""
Case = tuple[Setting, Finding]


def growth(
    probe: Callable[[Setting], Iterator[Finding]],
    settings: list[Setting],
    first: Case,
    least: Case,
    over: Callable[[], bool],
) -> Growth:
    """How large a fault is where it was found first, at its smallest, and at a few more lengths.

    Args:
        probe: what a law finds at a setting.
        settings: where the law was to be tried; no other length is.
        first, least: where the fault was found, and the smallest case of it.
        over: whether the time limit is reached; then no more is measured.

    A fault that has no size, such as an exception, has no growth.
    """
    kind, sizes = least[1].kind, dict[int, float]()
    for setting, found in (first, least):
        if kind == "raises" or not 0 < found.error < math.inf:
            return ()
        sizes[setting.T] = max(sizes.get(setting.T, 0.0), found.error)
    for T in _lengths({s.T for s in settings if s.T > least[0].T}):
        if over():
            break
        size = _largest(probe(replace(first[0], T=T)), kind)
        if size:
            sizes[T] = max(sizes.get(T, 0.0), size)
    return tuple(sorted(sizes.items()))


def spelled(sizes: Growth) -> str:
    """The largest, then all of them; empty where one length says it all.

    >>> spelled(((5, 0.1), (17, 0.8), (66, 3.2)))
    'largest 3.2 at T=66; 0.1, 0.8, 3.2 at T=5, 17, 66'
    """
    if len(sizes) < 2:
        return ""
    T, size = max(sizes, key=lambda pair: pair[1])
    every = ", ".join(f"{far:.2g}" for _, far in sizes)
    return f"largest {size:.2g} at T={T}; {every} at T={', '.join(str(T) for T, _ in sizes)}"


def _lengths(known: set[int]) -> list[int]:
    """Some of the lengths, evenly among them, the longest included."""
    every = sorted(known)
    at = {-(-i * len(every) // LENGTHS) for i in range(1, LENGTHS + 1)}
    return [every[i - 1] for i in sorted(at) if i]


def _largest(found: Iterator[Finding], kind: str) -> float:
    """The largest of the first faults of a kind; 0 where there is none."""
    sizes: list[float] = []
    for one in islice(found, LOOKED):
        if one.broken and one.kind == kind and math.isfinite(one.error):
            sizes.append(one.error)
        if len(sizes) == FAULTS or (one.broken and one.kind != kind):
            break
    return max(sizes, default=0.0)
