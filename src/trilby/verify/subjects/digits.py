"""How many digits a module computes with: those of float64, or fewer, whatever goes in and out."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..copies.nested import numbers
from ..copies.restore import WATCHED, valued
from .module_subject import ModuleSubject
from .subject import COARSE, FINE, Sequences


@dataclass(frozen=True)
class Attempt:
    """A subject in one way of running in float64, and what it gives for the example."""

    subject: ModuleSubject
    sequences: Sequences
    y: Tensor

    def with_grain(self, dtype: torch.dtype) -> "Attempt":
        """With the rounding of what it computes in."""
        grain = _grain(self.subject, dtype, self.sequences, self.y)
        return replace(self, subject=replace(self.subject, grain=grain))

    def like(self, other: "Attempt") -> bool:
        """Whether two ways give the same, to the digits of float64."""
        if self.y.dtype != other.y.dtype or self.y.shape != other.y.shape:
            return False
        a, b = (t.double().nan_to_num(0, 0, 0) for t in (self.y, other.y))
        return bool((a - b).abs().amax() <= 2.0**-44 * b.abs().amax()) if a.numel() else True


def _grain(subject: ModuleSubject, dtype: torch.dtype, sequences: Sequences, y: Tensor) -> float:
    """FINE, or COARSE where float64 goes in and the result has the digits of float32.

    A change of 2^-26 is twice that of 2^-27 for a function with the digits of float64. With those
    of float32 it is a staircase, whose steps are larger than either.
    """
    if dtype != torch.float64:
        return float(torch.finfo(dtype).eps)
    if not y.is_floating_point() or not y.numel():
        return FINE
    if y.dtype != torch.float64:
        return COARSE
    far, near = (_nudged(subject, sequences, size) - y for size in (2.0**-26, 2.0**-27))
    off = (far - 2 * near).abs().nan_to_num(0, 0, 0).amax()
    change = far.abs().nan_to_num(0, 0, 0).amax()
    return COARSE if float(change) == 0 or float(off) > 2.0**-10 * float(change) else FINE


def _nudged(subject: ModuleSubject, sequences: Sequences, size: float) -> Tensor:
    """The result when all numbers, those of the parameters too, are changed by about that share."""
    coins = torch.Generator().manual_seed(0)

    def nudge(x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=coins, dtype=torch.float64).to(x.device)
        return x * (1 + size * noise)

    moved = tuple(nudge(x) if numbers(x) else x for x in sequences)
    owned = _few([] if subject.module is None else [*subject.module.parameters()])
    with valued(owned, [nudge(p.data) for p in owned]):
        y: Tensor = subject.run(moved)[0]
    return y


def _few(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """All of them, or of a large module the smallest ones, as many as are watched."""
    found, count = list[nn.Parameter](), 0
    for p in sorted(filter(numbers, parameters), key=Tensor.numel):
        count += p.numel()
        if found and count > WATCHED:
            break
        found.append(p)
    return found
