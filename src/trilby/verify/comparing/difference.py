"""Where two tensors are farthest apart, against what is allowed there."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..wording import short


@dataclass(frozen=True)
class Difference:
    """The worst element of a comparison.

    Attributes:
        path: the leaf, e.g. "y".
        place: path and index, e.g. "y[0, 3, 1]".
        error: the distance, in the unit of the output; infinite where one side is not a number.
        allowed: what it may be there.
        values: the two elements.
        dtype: the dtype that was judged, e.g. "float32".
        broken: more than allowed.
        index: of the element in the leaf.
    """

    path: str
    place: str
    error: float
    allowed: float
    values: tuple[float, float]
    dtype: str
    broken: bool
    index: tuple[int, ...] = ()

    def __str__(self) -> str:
        """The numbers, for the end of a sentence."""
        if self.error == float("inf"):
            one, other = self.values
            return f"{one:.4g} and {other:.4g} at {self.place} ({self.dtype})"
        return f"{self.error:.1e} at {self.place}, allowed {self.allowed:.1e} ({self.dtype})"

    def of_gradient(self) -> "Difference":
        """The difference of what a backward pass returned, called after what it is a gradient of.

        >>> print(Difference("y.x", "y.x[3]", 1, 0.5, (0, 1), "float32", True).of_gradient())
        1.0e+00 at the gradient of x[3], allowed 5.0e-01 (float32)
        """
        path, place = (w.replace("y.", "the gradient of ", 1) for w in (self.path, self.place))
        return replace(self, path=path, place=place)


def difference(
    path: str, a: Tensor, b: Tensor, allowed: Tensor, dtype: torch.dtype
) -> Difference | None:
    """The largest error among elements that exceed the allowance, else among all; None: no element.

    Equal infinities, and NaN against NaN, are no error. `allowed` broadcasts to a.

    >>> print(difference("y", torch.zeros(2), torch.tensor([0, 3.0]), torch.ones(1), torch.float32))
    3.0e+00 at y[1], allowed 1.0e+00 (float32)
    """
    if not a.numel():
        return None
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    equal = (a == b) | (a.isnan() & b.isnan())
    error = torch.where(equal, 0.0, (a - b).abs()).nan_to_num(torch.inf, torch.inf)
    limit = allowed.double().cpu().nan_to_num(0, 0, 0).expand_as(error)
    beyond = error > limit
    broken = bool(beyond.any())
    at = int((torch.where(beyond, error, -1.0) if broken else error).argmax())
    index = [int(i) for i in np.unravel_index(at, a.shape)]  # torch's imports sympy
    one, other, size, most = (float(t.reshape(-1)[at]) for t in (a, b, error, limit))
    place = f"{path}{index}" if index else path
    return Difference(path, place, size, most, (one, other), short(dtype), broken, tuple(index))


def worst(differences: Iterable[Difference | None]) -> Difference | None:
    """A broken difference if there is one, then the one that comes nearest to what it may be."""
    known = [g for g in differences if g is not None]
    ratio = lambda g: g.error / max(g.allowed, 1e-300)
    return max(known, key=lambda g: (g.broken, ratio(g)), default=None)
