"""A subject at one point, as a function of its floating tensors alone."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..comparing.gradients import gradients_of
from ..copies.nested import Leaves, clone, copied, leaves, replaced
from ..copies.restore import valued
from ..precision.allowance import Within
from ..subjects.subject import Sequences, Subject

PROBES = 2
PARAMETERS, FEW = 24, 4  # of a module that are tried, spread over it; of a large one


@dataclass(frozen=True)
class Graph:
    """A subject at one point, as a function of its floating tensors alone.

    Attributes:
        call: the tensors -> the floating leaves of the result.
        tensors: the point, path by path; parameters last.
        inputs: how many of them are no parameters.
        grain: the rounding of what it computes in.
        within: what it runs in, backward too.
        spared: number of a tensor -> the row to which nothing flows, by the contract of
            `nn.Embedding(padding_idx=)`.
        others: parameters that are not moved.
    """

    call: Callable[[list[Tensor]], Leaves]
    tensors: Leaves
    inputs: int
    grain: float
    within: Within = nullcontext
    spared: dict[int, int] = field(default_factory=dict)
    others: list[Tensor] = field(default_factory=list)

    def along(self, i: int, direction: Tensor) -> Tensor:
        """A direction of tensor i, without the row to which no gradient is meant to flow."""
        if i in self.spared:
            direction[self.spared[i]] = 0
        return direction

    def grad(self, outputs: Tensor, inputs: list[Tensor], again: bool = False) -> list[Any]:
        """The gradients of outputs; None where one does not depend on an input."""
        every = [t for _, t in self.tensors[self.inputs :]]
        with self.within():
            return list(gradients_of(outputs, inputs, [*every, *self.others], again))

    @property
    def step(self) -> float:
        """The third root of the rounding: there rounding and curvature weigh the same."""
        return float(2.0 ** round(math.log2(self.grain) / 3))

    def noise(self, way: Callable[[list[Tensor]], Tensor]) -> float:
        """How far a result moves when every number moves by one unit: what cancels inside shows."""
        here = [t.detach() for _, t in self.tensors]
        coins = torch.Generator().manual_seed(0)
        # in the dtype of t: an integer sign times a float is float32, where 1 + 2**-52 is 1
        sign = lambda t: torch.randint(0, 2, t.shape, generator=coins).to(t) * 2 - 1
        with torch.no_grad():
            y = way([t.clone() for t in here])
            moved = [way([t + self.grain * t.abs() * sign(t) for t in here]) - y
                     for _ in range(PROBES)]  # fmt: skip
        return max((float(size_of(m)) for m in moved), default=0.0)


def graph_of(subject: Subject, sequences: Sequences, state: Any) -> Graph:
    named = [*zip(subject.names, sequences, strict=False), *leaves((None, state))[1:]]
    points = [(path, t) for path, t in named if floating(t)]
    most = FEW if subject.large else PARAMETERS
    owned = _spread([*subject.owned], most)
    others = [p for _, p in subject.owned]
    count = len(points)

    def call(tensors: list[Tensor]) -> Leaves:
        given, own = iter(tensors[:count]), tensors[count:]
        subject.fresh()
        fill = lambda t: next(given) if t.is_floating_point() else t.clone()
        point = replaced(sequences, fill), copied(state) if not count else replaced(state, fill)
        with valued([p for _, p in owned], own), subject.within():
            result = subject.call(*point)
        found = [(path, t) for path, t in leaves(result) if floating(t)]
        return subject.compared(found)

    layers = [] if subject.module is None else subject.module.modules()
    rows = {id(m.weight): m.padding_idx for m in layers if isinstance(m, nn.Embedding)}
    known = {count + i: rows.get(id(p)) for i, (_, p) in enumerate(owned)}
    spared = {i: row for i, row in known.items() if row is not None}
    return Graph(call, [*points, *owned], count, subject.grain, subject.within, spared, others)


def _spread(parameters: list[tuple[str, Tensor]], most: int) -> list[tuple[str, Tensor]]:
    """At most that many of those that take gradients, evenly over the module."""
    known = [(name, p) for name, p in parameters if p.requires_grad and floating(p)]
    every = -(-len(known) // most) or 1
    return known[::every]


def requiring(graph: Graph) -> list[Tensor]:
    """The point, to be differentiated: copies of the inputs, and the parameters themselves."""
    every = [t for _, t in graph.tensors]
    copies = [clone(t).requires_grad_() for t in every[: graph.inputs]]
    return [*copies, *every[graph.inputs :]]


def size_of(t: Tensor) -> Tensor:
    known = t.abs().nan_to_num(0, 0, 0)
    return known.amax() if known.numel() else known.sum()


def noise_like(like: Tensor, seed: int) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


def floating(t: Any) -> bool:
    return isinstance(t, Tensor) and t.is_floating_point()
