"""Law 5: gradients of every sequence and of the state equal central differences, in float64."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..entitled import unit
from ..finding import Finding, compare, logic
from ..nest import clone, leaves, replaced
from ..subject import Leaves, Sequences, Subject
from ..sweep import SMALL, Setting

STEP = 2.0**-17  # the third root of 2^-52: there rounding and curvature weigh the same
PROBES = 2


@dataclass(frozen=True)
class Graph:
    """A subject at one point, as a function of its floating tensors alone.

    Attributes:
        call: the tensors -> the floating leaves of the result.
        tensors: the point, path by path.
    """

    call: Callable[[list[Tensor]], Leaves]
    tensors: Leaves


def differentiates(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """The gradient of each floating leaf that comes out to each that goes in, and once more.

    Element by element at small sizes, along random directions at others. The allowance is what
    the differences themselves show of their error: two steps, and rounding over the step.
    """
    for state in (None, subject.past(setting)):
        graph = _graph(subject, subject.draw(setting), state)
        plain = subject.leaves(subject.draw(setting), state)
        recorded = [(path, t.detach()) for path, t in graph.call(_requiring(graph))]
        kept = [(path, t) for path, t in plain if path in dict(recorded)]
        yield compare("forward", recorded, kept, logic, ", as it is without gradients")
        for path, _ in recorded:
            yield from _from(graph, path, setting)
        yield from _twice(graph)


def _graph(subject: Subject, sequences: Sequences, state: Any) -> Graph:
    named = [*zip(subject.names, sequences, strict=False), *leaves((None, state))[1:]]

    def call(tensors: list[Tensor]) -> Leaves:
        given = iter(tensors)
        fill = lambda t: next(given) if t.is_floating_point() else t.clone()
        result = subject.call(*replaced((sequences, state), fill))
        return [(path, t) for path, t in leaves(result) if _floating(t)]

    return Graph(call, [(path, t) for path, t in named if _floating(t)])


def _from(graph: Graph, path: str, setting: Setting) -> Iterator[Finding]:
    """The gradient of a weighted sum of one output."""
    weights: dict[str, Tensor] = {}

    def loss(tensors: list[Tensor]) -> Tensor:
        out = dict(graph.call(tensors))[path]
        if path not in weights:
            weights[path] = _noise(out, 3)
        return (weights[path] * out).sum()

    inputs = _requiring(graph)
    grads = _gradients(loss(inputs), inputs)
    for i, (name, point) in enumerate(graph.tensors):
        for k, (where, direction) in enumerate(_directions(point, setting)):
            slope, allowed = _slope(loss, inputs, i, direction)
            got = float((grads[i] * direction).sum())
            yield _judged(path, where or name, (got, slope, allowed), bool(grads[i].any()), name, k)


def _judged(
    path: str, where: str, numbers: tuple[float, float, float], flows: bool, name: str, k: int
) -> Finding:
    got, slope, allowed = numbers
    kind = "gradient wrong" if flows else "gradient missing"
    place = f"d {path} / d {name}{where.removeprefix(name)}"
    text = f"is {got:.6g}, by differences {slope:.6g}" + (
        f" (direction {k})" if where == name else ""
    )
    if not math.isfinite(slope):
        return Finding(kind)  # the function is not finite here, so there is no slope
    error = abs(got - slope)
    return Finding(kind, not error <= allowed, error, allowed, place, text)


def _twice(graph: Graph) -> Iterator[Finding]:
    """The gradient of a gradient: that of `<v, dy/dx w>` to w is the slope of y along v."""
    inputs = _requiring(graph)
    y = graph.call(inputs)[0][1]
    if not y.requires_grad:
        return
    w = _noise(y, 5).requires_grad_()
    along = [_noise(x, 6 + i) for i, x in enumerate(inputs)]
    try:
        first = torch.autograd.grad((w * y).sum(), inputs, create_graph=True, allow_unused=True)
        pairs = zip(first, along, strict=True)
        total = torch.stack([(g * v).sum() for g, v in pairs if g is not None]).sum()
        got = torch.autograd.grad(total, w, allow_unused=True)[0]
    except (RuntimeError, NotImplementedError) as error:
        told = " ".join(str(error).split())
        yield Finding("second gradient", note=f"no second gradient, it raises: {told:.80}")
        return
    got = torch.zeros_like(y) if got is None else got
    ahead, behind, near, close = (
        graph.call([x.detach() + h * v for x, v in zip(inputs, along, strict=True)])[0][1].detach()
        for h in (STEP, -STEP, STEP / 2, -STEP / 2)
    )
    slope, finer = (ahead - behind) / (2 * STEP), (near - close) / STEP
    limit = 8 * ((slope - finer).abs() + unit(ahead, ahead.dtype).amax() / STEP)
    got, finer = (torch.where(finer.isfinite(), t, 0.0) for t in (got.detach(), finer))
    allow = lambda _path, _wanted: limit
    yield compare("second gradient", [("d y", got)], [("d y", finer)], allow, " by differences")


def _slope(
    loss: Callable[[list[Tensor]], Tensor], inputs: list[Tensor], i: int, direction: Tensor
) -> tuple[float, float]:
    """The central difference along a direction of one input, and how far it may be off."""

    def at(h: float) -> float:
        moved = [x.detach() for x in inputs]
        moved[i] = moved[i] + h * direction
        with torch.no_grad():
            return float(loss(moved))

    ahead, behind = at(STEP), at(-STEP)
    slope, finer = (ahead - behind) / (2 * STEP), (at(STEP / 2) - at(-STEP / 2)) / STEP
    terms = torch.tensor([ahead, behind, 1.0], dtype=torch.float64).abs().max()
    noise = float(unit(terms, torch.float64)) * max(direction.numel(), 16) / STEP
    return finer, 8 * (abs(slope - finer) + noise)


def _directions(point: Tensor, setting: Setting) -> Iterator[tuple[str, Tensor]]:
    """Each element by itself where there are few, else random directions, named ""."""
    if setting.T <= SMALL and point.numel() <= 2 * SMALL:
        for at in range(point.numel()):
            one = torch.zeros(point.numel(), dtype=point.dtype)
            one[at] = 1
            index = [int(i) for i in torch.unravel_index(torch.tensor(at), point.shape)]
            yield str(index), one.view(point.shape)
    else:
        for k in range(PROBES):
            yield "", _noise(point, 11 + k)


def _gradients(loss: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(x) for x in inputs]
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _requiring(graph: Graph) -> list[Tensor]:
    return [clone(t).requires_grad_() for _, t in graph.tensors]


def _noise(like: Tensor, seed: int) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


def _floating(t: Any) -> bool:
    return isinstance(t, Tensor) and t.is_floating_point()
