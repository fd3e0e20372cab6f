"""Law 5: gradients of sequences, states and parameters equal central differences, in float64."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..comparing.finding import Finding, compare
from ..comparing.witness import Witness
from ..copies.nested import Leaves, clone, copied, leaves, replaced
from ..copies.restore import valued
from ..precision.allowance import FACTOR, Within
from ..reproducers.script import Script
from ..sizes import SMALL, Setting
from ..subjects.subject import Sequences, Subject
from ..subjects.user_module import UserModule
from ..wording import joined_lines
from .law import Law
from .mixer_sizes import in_float64
from .module_sizes import WIDE, at_lengths, short

PROBES = 2
DISCRETE = "piecewise constant, with a gradient of its own (straight through)"
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
    """

    call: Callable[[list[Tensor]], Leaves]
    tensors: Leaves
    inputs: int
    grain: float
    within: Within = nullcontext
    spared: dict[int, int] = field(default_factory=dict)

    def along(self, i: int, direction: Tensor) -> Tensor:
        """A direction of tensor i, without the row to which no gradient is meant to flow."""
        if i in self.spared:
            direction[self.spared[i]] = 0
        return direction

    def grad(self, outputs: Tensor, inputs: list[Tensor], again: bool = False) -> list[Any]:
        """The gradients of outputs; None where one does not depend on an input."""
        with self.within():
            found: tuple[Any, ...] = torch.autograd.grad(
                outputs, inputs, create_graph=again, allow_unused=True
            )
        return list(found)

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
        return max((float(_size(m)) for m in moved), default=0.0)


def differentiates(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """The gradient of each floating leaf that comes out to each that goes in, and once more.

    Element by element at small sizes, along random directions at others. The allowance is what
    the differences themselves show of their error: two steps, and rounding over the step.
    """
    judged, setting = subject.recorded(setting)
    for state in subject.contract_states(setting):
        graph = _graph(judged, judged.draw(setting), state)
        plain = judged.leaves(judged.draw(setting), state)
        recorded = [(path, t.detach()) for path, t in graph.call(_requiring(graph))]
        kept = [(path, t) for path, t in plain if path in dict(recorded)]
        yield compare("forward", recorded, kept, judged.logic, ", as it is without gradients")
        near = _Near(graph, setting)
        for path, _ in recorded:
            yield from _from(near, path)
        yield from _twice(graph)


def _graph(subject: Subject, sequences: Sequences, state: Any) -> Graph:
    named = [*zip(subject.names, sequences, strict=False), *leaves((None, state))[1:]]
    points = [(path, t) for path, t in named if _floating(t)]
    most = FEW if subject.large else PARAMETERS
    owned = _spread([*subject.owned], most)
    count = len(points)

    def call(tensors: list[Tensor]) -> Leaves:
        given, own = iter(tensors[:count]), tensors[count:]
        subject.fresh()
        fill = lambda t: next(given) if t.is_floating_point() else t.clone()
        point = replaced(sequences, fill), copied(state) if not count else replaced(state, fill)
        with valued([p for _, p in owned], own), subject.within():
            result = subject.call(*point)
        found = [(path, t) for path, t in leaves(result) if _floating(t)]
        return subject.compared(found)

    layers = [] if subject.module is None else subject.module.modules()
    rows = {id(m.weight): m.padding_idx for m in layers if isinstance(m, nn.Embedding)}
    known = {count + i: rows.get(id(p)) for i, (_, p) in enumerate(owned)}
    spared = {i: row for i, row in known.items() if row is not None}
    return Graph(call, [*points, *owned], count, subject.grain, subject.within, spared)


def _spread(parameters: list[tuple[str, Tensor]], most: int) -> list[tuple[str, Tensor]]:
    """At most that many of those that take gradients, evenly over the module."""
    known = [(name, p) for name, p in parameters if p.requires_grad and _floating(p)]
    every = -(-len(known) // most) or 1
    return known[::every]


class _Near:
    """The outputs of a graph at points near its own, each point computed once for all outputs."""

    def __init__(self, graph: Graph, setting: Setting) -> None:
        self.graph = graph
        self._setting, self._weights = setting, dict[str, Tensor]()
        self._known: dict[tuple[int, int, float], dict[str, float]] = {}

    def loss(self, path: str, tensors: list[Tensor]) -> Tensor:
        """A weighted sum of one output."""
        return self._weighted(path, dict(self.graph.call(tensors))[path])

    def directions(self, i: int) -> list[tuple[str, Tensor]]:
        """The directions in which tensor i is moved, and what each is called."""
        found = _directions(self.graph.tensors[i][1], self._setting)
        return [(where, self.graph.along(i, direction)) for where, direction in found]

    def at(self, path: str, i: int, k: int, direction: Tensor, h: float) -> float:
        """That sum where tensor i has moved by h along its direction number k."""
        point = (i, k, h)
        if point not in self._known:
            moved = [t.detach().clone() for _, t in self.graph.tensors[: self.graph.inputs]]
            moved += [t.detach() for _, t in self.graph.tensors[self.graph.inputs :]]
            moved[i] = moved[i] + h * direction
            with torch.no_grad():
                found = self.graph.call(moved)
                self._known[point] = {name: float(self._weighted(name, t)) for name, t in found}
        return self._known[point][path]

    def _weighted(self, path: str, out: Tensor) -> Tensor:
        if path not in self._weights:
            self._weights[path] = _noise(out, 3)
        return (self._weights[path] * out).sum()


def _from(near: _Near, path: str) -> Iterator[Finding]:
    """The gradient of a weighted sum of one output."""
    graph, loss = near.graph, partial(near.loss, path)
    inputs = _requiring(graph)
    grads = _gradients(graph, loss(inputs), inputs)
    noise = graph.noise(lambda tensors: loss(tensors).detach())
    order = sorted(range(len(grads)), key=lambda i: bool(grads[i].any()))  # what is missing first
    for i in order:
        name = graph.tensors[i][0]
        for k, (where, direction) in enumerate(near.directions(i)):
            at = partial(near.at, path, i, k, direction)
            slope, allowed = _slope(graph, at, direction.numel())
            allowed += FACTOR * noise / graph.step
            got = float((grads[i] * direction).sum())
            found = _judged((path, name, where, k), (got, slope, allowed), bool(grads[i].any()))
            if found.broken and slope == 0 and _discrete(graph, at):
                yield Finding(found.kind, note=DISCRETE)
                continue
            yield found


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


def _twice(graph: Graph) -> Iterator[Finding]:
    """The gradient of a gradient: to what comes from above, and to the point itself.

    That of `<v, dy/dx w>` to w is the slope of y along v. That to x and to the parameters is the
    slope of the first gradient, as backward gives it: an intermediate that a backward keeps, and
    through which no second gradient flows, shows here alone.
    """
    inputs = _requiring(graph)
    y = graph.call(inputs)[0][1]
    if not y.requires_grad or not inputs:
        return
    w = _noise(y, 5).requires_grad_()
    along = [graph.along(i, _noise(x, 6 + i)) for i, x in enumerate(inputs)]
    try:
        total = _total(graph, y, inputs, w, along, again=True)
        got, *grads = graph.grad(total, [w, *inputs])
    except (RuntimeError, NotImplementedError) as error:
        note = f"no second gradient, it raises: {joined_lines(error)}"
        yield Finding("second gradient", note=note)
        return
    yield _from_above(graph, inputs, along, torch.zeros_like(y) if got is None else got.detach())
    found = [torch.zeros_like(x) if g is None else g for g, x in zip(grads, inputs, strict=True)]
    for of in ("inputs", "parameters"):
        total_at = lambda y, at: _total(graph, y, at, w.detach(), along)
        yield from _to_the_point(graph, of, found, total_at)


def _total(
    graph: Graph,
    y: Tensor,
    inputs: list[Tensor],
    w: Tensor,
    along: list[Tensor],
    again: bool = False,
) -> Tensor:
    """The sum of <dL/dx, v> over the inputs, where L = <w, y>."""
    first = graph.grad((w * y).sum(), inputs, again)
    pairs = zip(first, along, strict=True)
    return torch.stack([(g * v).sum() for g, v in pairs if g is not None]).sum()


def _from_above(graph: Graph, inputs: list[Tensor], along: list[Tensor], got: Tensor) -> Finding:
    """The second gradient to what comes from above, against the slope of y."""
    h = graph.step
    ahead, behind, near, close = (
        graph.call([x.detach() + s * v for x, v in zip(inputs, along, strict=True)])[0][1].detach()
        for s in (h, -h, h / 2, -h / 2)
    )
    slope, finer = (ahead - behind) / (2 * h), (near - close) / h
    noise = graph.noise(lambda tensors: graph.call(tensors)[0][1].detach())
    limit = FACTOR * ((slope - finer).abs() + (graph.grain * _size(ahead) + noise) / h)
    got, finer = (torch.where(finer.isfinite(), t, 0.0) for t in (got, finer))
    allow = lambda _path, _wanted: limit
    return compare("second gradient", [("d y", got)], [("d y", finer)], allow, " by differences")


def _to_the_point(
    graph: Graph, of: str, found: list[Tensor], total: Callable[[Tensor, list[Tensor]], Tensor]
) -> Iterator[Finding]:
    """The second gradient along one direction of all inputs, or of all parameters."""
    chosen = [i for i in range(len(found)) if (i < graph.inputs) == (of == "inputs")]
    if not chosen:
        return
    direction = {i: graph.along(i, _noise(found[i], 40 + i)) for i in chosen}
    owned = [p for _, p in graph.tensors[graph.inputs :]]

    def first(tensors: list[Tensor]) -> Tensor:
        with torch.enable_grad(), valued(owned, tensors[graph.inputs :]):
            point = [t.detach().requires_grad_() for t in tensors[: graph.inputs]] + owned
            return total(graph.call(point)[0][1], point).detach()

    def at(h: float) -> float:
        point = [t.detach() for _, t in graph.tensors]
        moved = [t + h * direction[i] if i in direction else t for i, t in enumerate(point)]
        return float(first(moved))

    h = graph.step
    ahead, behind, finer = at(h), at(-h), (at(h / 2) - at(-h / 2)) / h
    got = sum(float((found[i] * v).sum()) for i, v in direction.items())
    noise = graph.noise(first) + graph.grain * max(abs(ahead), abs(behind))
    allowed = FACTOR * (abs((ahead - behind) / (2 * h) - finer) + noise / h)
    place = f"d d y / d {of}"
    text = f"is {got:.6g}, by differences of the first gradient {finer:.6g}"
    error = abs(got - finer)
    if not math.isfinite(finer):
        return
    broken = not error <= allowed
    if broken and finer == 0 and at(h) == at(0.0) != at(1.0):
        yield Finding("second gradient", note=DISCRETE)
        return
    yield Finding("second gradient", broken, error, allowed, place, text)


def _size(t: Tensor) -> Tensor:
    known = t.abs().nan_to_num(0, 0, 0)
    return known.amax() if known.numel() else known.sum()


def _slope(graph: Graph, at: Callable[[float], float], n: int) -> tuple[float, float]:
    """The central difference of `at` at 0, n numbers moved, and how far it may be off."""
    h = graph.step
    ahead, behind = at(h), at(-h)
    slope, finer = (ahead - behind) / (2 * h), (at(h / 2) - at(-h / 2)) / h
    noise = graph.grain / h * max(abs(ahead), abs(behind), 1.0) * max(n, 16)
    return finer, FACTOR * (abs(slope - finer) + noise)


def _discrete(graph: Graph, at: Callable[[float], float]) -> bool:
    """Whether a small step changes nothing at all, and a large one does: values are rounded."""
    return at(graph.step) == at(-graph.step) == at(0.0) != at(1.0)


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
            yield "", _noise(point, 11 + k)


def _gradients(graph: Graph, loss: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(x) for x in inputs]
    found = graph.grad(loss, inputs)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _requiring(graph: Graph) -> list[Tensor]:
    """The point, to be differentiated: copies of the inputs, and the parameters themselves."""
    every = [t for _, t in graph.tensors]
    copies = [clone(t).requires_grad_() for t in every[: graph.inputs]]
    return [*copies, *every[graph.inputs :]]


def _noise(like: Tensor, seed: int) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


def _floating(t: Any) -> bool:
    return isinstance(t, Tensor) and t.is_floating_point()


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
