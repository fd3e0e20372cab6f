"""Slopes by differences, where a function has one: smooth, with a kink, or in steps."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..precision.allowance import FACTOR

At = Callable[[float], float]  # a function along one direction, of how far it is moved
DISCRETE = "piecewise constant, with a gradient of its own (straight through)"
KINK = "has a kink here, where a gradient may be that of either side"
LEVEL = 64  # times the noise of a value, below which a second difference may be rounding


@dataclass(frozen=True)
class Slope:
    """The slope of a function at 0, and how far that may be off."""

    value: float
    allowed: float

    def near(self, got: float) -> bool:
        """Whether a gradient may be this slope."""
        return abs(got - self.value) <= self.allowed


def central(at: At, step: float, noise: float) -> Slope:
    """From both sides; `noise` is how far a value may be off. The finer of two steps."""
    coarse, fine = (at(step) - at(-step)) / (2 * step), (at(step / 2) - at(-step / 2)) / step
    return Slope(fine, FACTOR * (abs(coarse - fine) + noise / step))


def kinked(at: At, step: float, noise: float) -> bool:
    """Whether there is a kink within a few steps, as that of ReLU at zero.

    The second difference of a smooth function grows with the square of the step, by 16 from one to
    four times as much; with kinks in between it grows by 4.
    """
    return bool(_few(_bent(at, 4 * step), _bent(at, 16 * step), noise, 8))


def jumps(at: At, step: float, noise: float) -> bool:
    """Whether it jumps within a few steps: a larger step makes no larger difference."""
    near, far = (abs(at(n * step) - at(-n * step)) for n in (4, 16))
    return bool(_few(near, far, noise, 2))


def kinked_elements(at: Callable[[float], Tensor], step: float, noise: Tensor) -> Tensor:
    """`kinked` of a function that has many elements, for each of them."""
    near, far = ((at(h) - 2 * at(0.0) + at(-h)).abs() for h in (4 * step, 16 * step))
    found: Tensor = (near > LEVEL * noise) & (far < 8 * near)
    return found


def _bent(at: At, h: float) -> float:
    return abs(at(h) - 2 * at(0.0) + at(-h))


def _few(near: float, far: float, noise: float, times: float) -> bool:
    """Whether a difference is no rounding, and grows with the step by less than `times`."""
    return near > LEVEL * noise and far < times * near


def discrete(at: At, step: float) -> bool:
    """Whether a small step changes nothing at all, and a large one does: values are rounded."""
    return at(step) == at(-step) == at(0.0) != at(1.0)
