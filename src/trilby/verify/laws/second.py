"""The gradient of a gradient, against differences of the first one."""

import math
from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor

from ..comparing.finding import Finding, compare
from ..copies.restore import valued
from ..precision.allowance import FACTOR
from ..wording import joined_lines
from .graph import Graph, noise_like, requiring, size_of
from .slopes import DISCRETE, KINK, central, discrete, jumps, kinked, kinked_elements


def second_gradients(graph: Graph) -> Iterator[Finding]:
    """The gradient of a gradient: to what comes from above, and to the point itself.

    That of `<v, dy/dx w>` to w is the slope of y along v. That to x and to the parameters is the
    slope of the first gradient, as backward gives it: an intermediate that a backward keeps, and
    through which no second gradient flows, shows here alone.
    """
    inputs = requiring(graph)
    y = graph.call(inputs)[0][1]
    if not y.requires_grad or not inputs:
        return
    w = noise_like(y, 5).requires_grad_()
    along = [graph.along(i, noise_like(x, 6 + i)) for i, x in enumerate(inputs)]
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
    """The second gradient to what comes from above, against the slope of y.

    Elements at a kink, where the slopes of the two sides differ, are left out.
    """
    h = graph.step

    @cache
    def at(s: float) -> Tensor:
        moved = [x.detach() + s * v for x, v in zip(inputs, along, strict=True)]
        return graph.call(moved)[0][1].detach()

    slope, finer = (at(h) - at(-h)) / (2 * h), (at(h / 2) - at(-h / 2)) / h
    noise = graph.grain * size_of(at(h)) + graph.noise(lambda xs: graph.call(xs)[0][1].detach())
    limit = FACTOR * ((slope - finer).abs() + noise / h)
    if bool(((got - finer).abs() > limit).any()):
        got = torch.where(kinked_elements(at, h, noise), finer, got)
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
    direction = {i: graph.along(i, noise_like(found[i], 40 + i)) for i in chosen}
    first = _first_gradient(graph, total)

    @cache
    def at(h: float) -> float:
        point = [t.detach() for _, t in graph.tensors]
        moved = [t + h * direction[i] if i in direction else t for i, t in enumerate(point)]
        return float(first(moved))

    h = graph.step
    noise = graph.noise(first) + graph.grain * max(abs(at(h)), abs(at(-h)))
    slope = central(at, h, noise)
    got = sum(float((found[i] * v).sum()) for i, v in direction.items())
    place = f"d d y / d {of}"
    text = f"is {got:.6g}, by differences of the first gradient {slope.value:.6g}"
    if not math.isfinite(slope.value):
        return
    if not slope.near(got) and slope.value == 0 and discrete(at, h):
        yield Finding("second gradient", note=DISCRETE)
    elif not slope.near(got) and (jumps(at, h, noise) or kinked(at, h, noise)):
        yield Finding("second gradient", note=KINK)
    else:
        error = abs(got - slope.value)
        broken = not slope.near(got)
        yield Finding("second gradient", broken, error, slope.allowed, place, text)


def _first_gradient(
    graph: Graph, total: Callable[[Tensor, list[Tensor]], Tensor]
) -> Callable[[list[Tensor]], Tensor]:
    """A point -> the sum of its first gradients, as backward gives them."""
    owned = [p for _, p in graph.tensors[graph.inputs :]]

    def first(tensors: list[Tensor]) -> Tensor:
        with torch.enable_grad(), valued(owned, tensors[graph.inputs :]):
            point = [t.detach().requires_grad_() for t in tensors[: graph.inputs]] + owned
            return total(graph.call(point)[0][1], point).detach()

    return first
