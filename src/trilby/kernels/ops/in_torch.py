"""Derivatives of an operator from the same computation in torch operations.

They are for gradients of a higher order and for forward mode, where speed is not asked for.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.func import vjp

Some = tuple[Any, ...]


class InTorch:
    """The gradients and tangents of `way`, which takes `tensors` tensors and then constants.

    Args:
        way: differentiable torch operations, with several results.
        tensors: how many of its arguments, the first ones, have gradients.
        results: how many results it has.
    """

    def __init__(self, way: Callable[..., Some], tensors: int, results: int) -> None:
        self._way, self._tensors, self._results = way, tensors, results

    def gradients(self, *given: Any) -> Some:
        """The gradients, which have gradients themselves, of the seeds and then the inputs."""
        way, tensors = self._bound(given[self._results :])
        back = vjp(way, *tensors)[1]
        found: Some = back(given[: self._results])
        return found

    def tangent(self, inputs: Some, tangents: Some) -> Some:
        """What the results move by: the gradient is linear in its seeds, and this its transpose."""
        way, given = self._bound(inputs)
        pairs = zip(given, tangents[: self._tensors], strict=True)
        moved = [torch.zeros_like(x) if d is None else d for x, d in pairs]
        results, back = vjp(way, *given)[:2]
        forth = vjp(back, tuple(torch.zeros_like(x) for x in results))[1]
        found: Some = forth(tuple(moved))[0]
        return found

    def _bound(self, inputs: Some) -> tuple[Callable[..., Some], Some]:
        """A function of the tensors alone, and those."""
        given, others = inputs[: self._tensors], inputs[self._tensors :]
        return lambda *tensors: self._way(*tensors, *others), given
