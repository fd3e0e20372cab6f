"""Law 5: gradients of sequences, states and parameters equal central differences, in float64."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from ..comparing.finding import Finding, compare
from ..comparing.witness import Witness
from ..precision.allowance import FACTOR
from ..reproducers.script import Script
from ..sizes import SMALL, Setting
from ..subjects.subject import Subject
from ..subjects.user_module import UserModule
from .graph import PROBES, Graph, graph_of, noise_like, requiring
from .law import Law
from .mixer_sizes import in_float64
from .module_sizes import WIDE, at_lengths, short
from .second import second_gradients
from .slopes import DISCRETE, KINK, At, Slope, central, discrete, kinked
from .straight import STRAIGHT, Steps, is_straight


def differentiates(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """The gradient of each floating leaf that comes out to each that goes in, and once more.

    Element by element at small sizes, along random directions at others. The allowance is what
    the differences themselves show of their error: two steps, and rounding over the step.
    Where the function has a kink, as ReLU has at zero, other parameters are tried as well.
    """
    again = False
    for found in _at_a_point(subject, setting):
        again = again or found.note == KINK
        yield found
    if again and (other := subject.redrawn_at(setting)) is not None:
        yield from _at_a_point(subject.at(other), other)


def _at_a_point(subject: Subject, setting: Setting) -> Iterator[Finding]:
    judged, setting = subject.recorded(setting)
    for state in subject.contract_states(setting):
        graph = graph_of(judged, judged.draw(setting), state)
        plain = judged.leaves(judged.draw(setting), state)
        recorded = [(path, t.detach()) for path, t in graph.call(requiring(graph))]
        kept = [(path, t) for path, t in plain if path in dict(recorded)]
        yield compare("forward", recorded, kept, judged.logic, ", as it is without gradients")
        near = _Near(graph, setting)
        stepped = near.in_steps
        for path, _ in recorded:
            for found in _from(near, path):
                stepped = stepped or found.note in (STRAIGHT, DISCRETE)
                yield found
        if not stepped:  # the slope of a step is not its gradient, nor is that of the second
            yield from second_gradients(graph)


class _Near:
    """The outputs of a graph at points near its own, each point computed once for all outputs."""

    def __init__(self, graph: Graph, setting: Setting) -> None:
        self.graph = graph
        self._setting, self._weights = setting, dict[str, Tensor]()
        self._known: dict[tuple[int, int, float, str], dict[str, float]] = {}

    def loss(self, path: str, tensors: list[Tensor]) -> Tensor:
        """A weighted sum of one output."""
        return self._weighted(path, dict(self.graph.call(tensors))[path])

    def directions(self, i: int) -> list[tuple[str, Tensor]]:
        """The directions in which tensor i is moved, and what each is called."""
        found = _directions(self.graph.tensors[i][1], self._setting)
        return [(where, self.graph.along(i, direction)) for where, direction in found]

    @cached_property
    def steps(self) -> Steps:
        """Where the call rounds, chooses and detaches."""
        here = [t.detach().clone() for _, t in self.graph.tensors]
        with torch.no_grad(), Steps() as found:
            self.graph.call(here)
        return found

    @property
    def in_steps(self) -> bool:
        """Whether the call rounds, or detaches what comes from a choice."""
        with suppress(Exception):  # what a mode of torch cannot see through
            return bool(self.steps.rounded or self.steps.held)
        return False

    def at(self, path: str, i: int, k: int, direction: Tensor, h: float, way: str = "") -> float:
        """That sum where tensor i has moved by h along its direction number k.

        `way`: one of those of `Steps`, what becomes of rounded values.
        """
        point = (i, k, h, way)
        if point not in self._known:
            moved = [t.detach().clone() for _, t in self.graph.tensors[: self.graph.inputs]]
            moved += [t.detach() for _, t in self.graph.tensors[self.graph.inputs :]]
            moved[i] = moved[i] + h * direction
            with torch.no_grad(), Steps(self.steps, way) if way else nullcontext():
                found = self.graph.call(moved)
                self._known[point] = {name: float(self._weighted(name, t)) for name, t in found}
        return self._known[point][path]

    def _weighted(self, path: str, out: Tensor) -> Tensor:
        if path not in self._weights:
            self._weights[path] = noise_like(out, 3)
        return (self._weights[path] * out).sum()


def _from(near: _Near, path: str) -> Iterator[Finding]:
    """The gradient of a weighted sum of one output."""
    graph, loss = near.graph, partial(near.loss, path)
    inputs = requiring(graph)
    grads = _gradients(graph, loss(inputs), inputs)
    noise = graph.noise(lambda tensors: loss(tensors).detach())
    order = sorted(range(len(grads)), key=lambda i: bool(grads[i].any()))  # what is missing first
    for i in order:
        name = graph.tensors[i][0]
        for k, (where, direction) in enumerate(near.directions(i)):
            at = partial(near.at, path, i, k, direction)
            slope, own = _slope(graph, at, direction.numel())
            allowed = slope.allowed + FACTOR * noise / graph.step
            got = float((grads[i] * direction).sum())
            at_it = (path, name, where, k)
            found = _judged(at_it, (got, slope.value, allowed), bool(grads[i].any()))
            if found.broken:
                found = _excused(found, near, (got, slope.value), at, noise + own)
            yield found


def _excused(
    found: Finding,
    near: _Near,
    numbers: tuple[float, float],
    at: Callable[..., float],
    noise: float,
) -> Finding:
    """The finding, or a note where a value is rounded on purpose or the function has a kink.

    Of a value that moves in steps another gradient than that of the identity may be meant where a
    sign or a comparison makes the steps, as in spiking networks. Rounding has no other.
    """
    (got, slope), step = numbers, near.graph.step
    with suppress(Exception):  # what a mode of torch cannot see through
        way_at = lambda way: lambda h: at(h, way=way)
        slopes = lambda way: central(way_at(way), step, noise)
        if near.steps.ways() and is_straight(got, slopes, near.steps, FACTOR * noise / step):
            return Finding(found.kind, note=STRAIGHT)
        if slope == 0 and near.steps.only_rounds:
            return found
    if slope == 0 and discrete(at, step):
        return Finding(found.kind, note=DISCRETE)
    if kinked(at, step, noise):
        return Finding(found.kind, note=KINK)
    return found


def _judged(
    at: tuple[str, str, str, int], numbers: tuple[float, float, float], flows: bool
) -> Finding:
    """One gradient beside its slope: of an output to an argument, at an element or direction."""
    (of, to, element, k), (got, slope, allowed) = at, numbers
    kind = "gradient wrong" if flows else "gradient missing"
    text = f"is {got:.6g}, by differences {slope:.6g}" + ("" if element else f" (direction {k})")
    if not math.isfinite(slope):
        return Finding(kind)  # the function is not finite here, so there is no slope
    error, place = abs(got - slope), f"d {of} / d {to}{element}"
    witness = Witness(of=of, to=to)
    return Finding(kind, not error <= allowed, error, allowed, place, text, witness=witness)


def _slope(graph: Graph, at: At, n: int) -> tuple[Slope, float]:
    """The central difference of `at` at 0, n numbers moved, and how far one value may be off."""
    h = graph.step
    noise = graph.grain * max(abs(at(h)), abs(at(-h)), 1.0) * max(n, 16)
    return central(at, h, noise), noise


def _directions(point: Tensor, setting: Setting) -> Iterator[tuple[str, Tensor]]:
    """Each element by itself where there are few, else random directions, named ""."""
    if setting.T <= SMALL and point.numel() <= 2 * SMALL:
        for at in range(point.numel()):
            one = torch.zeros(point.numel(), dtype=point.dtype)
            one[at] = 1
            index = [int(i) for i in np.unravel_index(at, point.shape)]
            yield str(index), one.view(point.shape)
    else:
        for k in range(PROBES):
            yield "", noise_like(point, 11 + k)


def _gradients(graph: Graph, loss: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(x) for x in inputs]
    found = graph.grad(loss, inputs)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _module_settings(effort: str, user: UserModule) -> list[Setting]:
    near = [replace(s, B=min(2, s.B)) for s in at_lengths(user, short(user), dtype=WIDE)]
    found = [*near, *(replace(s, mode="train") for s in near)]
    if effort == "quick":
        return found[:1]
    return found + at_lengths(user, (33,) if effort == "default" else (33, 66), dtype=WIDE)


def _reproduce(script: Script) -> list[str]:
    """By torch's own differences."""
    inputs = ", ".join(f"{name}.requires_grad_()" for name in script.names)
    check = f"torch.autograd.gradcheck(way, ({inputs},), raise_exception=False)"
    return [
        f"way = lambda {', '.join(script.names)}: {script.call()}",
        f"print({check})  # True if the gradients to the inputs are right",
    ]


_LENGTHS = {"quick": (1, 2, 3, 66), "default": (1, 2, 3, 5, 9, 64, 65)}
LAW = Law("differentiates", differentiates, in_float64(_LENGTHS), _module_settings, _reproduce)
