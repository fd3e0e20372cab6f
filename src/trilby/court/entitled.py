"""What a function is entitled to: the error that rounding its inputs alone would explain.

The float64 twin runs on the already rounded inputs and parameters; each of them is then moved by
one unit of its own dtype, a few times with random signs. What the output moves is what no
implementation in that dtype can be blamed for.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .nest import clone, convert, leaves

PROBES = 8
FACTOR = 8  # DESIGN law 6: eight responses and eight units of the output


@dataclass(frozen=True)
class Entitled:
    """One output of the float64 twin, and how far one unit of the inputs moves it."""

    path: str
    answer: Any  # what the twin returned
    response: Tensor | None  # answer's leading min(2, rank - 1) axes, then 1s; None: not floating

    def allowance(self, dtype: torch.dtype) -> Tensor:
        """The error allowed of each element, for an output of `dtype`; broadcasts to answer."""
        if self.response is None:
            return torch.zeros(())
        return FACTOR * (self.response + unit(self.answer, dtype))


def unit(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The spacing of `dtype` at the size of each element, in float64; NaN and inf have none, 0.

    >>> unit(torch.tensor([1.0, 3.0]), torch.float32).tolist() == [2.0**-23, 2.0**-22]
    True
    """
    info = torch.finfo(dtype)
    size = x.detach().double().abs()
    exponent = torch.frexp(size).exponent - 1
    least = info.smallest_normal * info.eps
    spacing = torch.ldexp(torch.full_like(size, info.eps), exponent).clamp(min=least)
    spacing = torch.where(size == 0, torch.full_like(size, least), spacing)  # frexp(0) says 2^-1
    return torch.where(size.isfinite(), spacing, torch.zeros_like(spacing))


@contextmanager
def pinned(seed: int = 0, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Fixed random numbers, no gradients, and a default dtype; all as before afterwards."""
    default = torch.get_default_dtype()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        try:
            torch.set_default_dtype(dtype or default)
            yield
        finally:
            torch.set_default_dtype(default)


def entitled(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Entitled]:
    """The float64 answer of f at these arguments, and its response to one unit of rounding.

    Nothing of the caller's is changed. Raises whatever f raises in float64.
    Cost: 1 + 8 calls of f in float64.
    """
    given = (f, args, kwargs)
    answers = _run(convert(given, torch.float64))
    moved: list[Any] = [torch.zeros_like(a) if _real(a) else None for _, a in answers]
    signs = torch.Generator().manual_seed(0)
    for _ in range(PROBES):
        for i, (_, probe) in enumerate(_run(_moved(given, signs))):
            if moved[i] is not None:
                change = (probe - answers[i][1]).abs().nan_to_num(0, 0, 0)
                moved[i] = torch.maximum(moved[i], change)
    pairs = zip(answers, moved, strict=True)
    return [Entitled(path, a, None if m is None else _reduced(m)) for (path, a), m in pairs]


def _real(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _run(given: tuple[Any, Any, Any]) -> list[tuple[str, Any]]:
    f, args, kwargs = given
    with pinned(dtype=torch.float64):
        return leaves(clone(f(*args, **kwargs)))


def _moved(given: Any, signs: torch.Generator) -> Any:
    """The float64 twin of everything given, each number moved by a unit of its own dtype."""
    twin = convert(given, torch.float64)
    with torch.no_grad():
        for old, new in zip(_numbers(given), _numbers(twin), strict=True):
            coin = torch.randint(0, 2, old.shape, generator=signs) * 2 - 1
            new.add_(coin.to(new.device) * unit(old, old.dtype))
    return twin


def _numbers(nest: Any) -> list[Tensor]:
    """Every floating tensor of a nest, the parameters and buffers of its modules too."""
    found: list[Tensor] = []
    for _, leaf in leaves(nest):
        inside = [*leaf.parameters(), *leaf.buffers()] if isinstance(leaf, nn.Module) else [leaf]
        found += [t for t in inside if _real(t)]
    return found


def _reduced(moved: Tensor) -> Tensor:
    """The largest response per (row, position), the trailing axes kept as 1."""
    trailing = tuple(range(min(2, max(moved.ndim - 1, 0)), moved.ndim))
    if not trailing or not moved.numel():
        return moved
    return moved.amax(trailing, keepdim=True)
