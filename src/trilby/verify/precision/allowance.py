"""What rounding may do to a function: the error that rounding its inputs alone would explain.

The float64 twin runs on the already rounded inputs and parameters; each of them is then moved by
one unit of its own dtype, a few times with random signs. What the output moves is what no
implementation in that dtype can be blamed for.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..copies.nested import alike, alter, clone, convert, leaves, precise, real
from ..copies.reached import restored
from ..process import seed, undisturbed
from .default import Default

PROBES = 8
FACTOR = 8  # DESIGN law 6: eight responses and eight units of the output
EXPONENT = 0x7FF << 52  # the bits of a float64 that hold its exponent

Within = Callable[[], AbstractContextManager[Any]]  # what a way runs in


@dataclass(frozen=True)
class Allowance:
    """One output of the float64 twin, and how far one unit of the inputs moves it."""

    path: str
    answer: Any  # what the twin returned
    response: Tensor | None  # answer's leading min(2, rank - 1) axes, then 1s; None: not floating

    def allowed(self, dtype: torch.dtype, whole: bool = False) -> Tensor:
        """The error allowed of each element, for an output of `dtype`; broadcasts to answer.

        `whole`: a unit is that of the largest element at a (row, position), as the response is,
        and not that of each by itself.
        """
        if self.response is None:
            return torch.zeros(())
        units = unit(self.answer, dtype)
        return FACTOR * (self.response + (reduced(units) if whole else units))

    def or_farther(self, far: "Allowance") -> "Allowance":
        """With the response to inputs that moved FACTOR units where that is more for each unit.

        A function that is smooth shows the same; one that makes a choice shows where it flips.
        """
        if self.response is None or far.response is None:
            return self
        return replace(self, response=torch.maximum(self.response, far.response / FACTOR))

    def and_also(self, other: "Allowance | None") -> "Allowance":
        """With the response to something else added."""
        if self.response is None or other is None or other.response is None:
            return self
        return replace(self, response=self.response + other.response)


def unit(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The spacing of `dtype` at the size of each element, in float64; NaN and inf have none, 0.

    >>> unit(torch.tensor([1.0, 3.0]), torch.float32).tolist() == [2.0**-23, 2.0**-22]
    True
    """
    info = torch.finfo(dtype)
    size = x.detach().double().abs()
    normal = size.clamp(min=info.smallest_normal)
    power = (normal.view(torch.int64) & EXPONENT).view(torch.float64)  # of 2, without the fraction
    spacing = power * info.eps
    return spacing.masked_fill(~size.isfinite(), 0)


@contextmanager
def pinned(dtype: torch.dtype | None = None) -> Iterator[None]:
    """Random numbers from their beginning, and in this thread another default dtype.

    These, and whether gradients are recorded, are as before afterwards, also after an exception.
    """
    grad = torch.is_grad_enabled()
    try:
        with undisturbed():
            seed()
            with nullcontext() if dtype is None else Default(dtype):
                yield
    finally:
        torch.set_grad_enabled(grad)


def run(given: Any, default: torch.dtype | None = None, within: Within = nullcontext) -> Any:
    """The leaves of one call of (f, args, kwargs), path by path; they belong to the caller.

    What is given is used up: hand over a copy. Modules that f reaches are as before afterwards.
    What f makes by itself is of the dtype `default`; None is that of torch.
    """
    f, args, kwargs = given
    with restored(f), pinned(default), within():
        return leaves(clone(f(*args, **kwargs)))


def allowances(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    dtype: torch.dtype | None = torch.float64,
    within: Within = nullcontext,
    probes: int = PROBES,
    reach: float = 1.0,
    default: bool = True,
) -> list[Allowance]:
    """The answer of f at these arguments in `dtype`, and its response to one unit of rounding.

    `dtype=None` leaves every number in its own dtype. Each call of f runs inside `within()`.
    Inputs move by `reach` units. What f makes by itself, as by `torch.zeros(3)`, is of `dtype` too
    unless `default` is false; that takes a call of Python for every operation. Nothing of the
    caller's is changed. Raises whatever f raises at the arguments themselves; a moved argument
    that f refuses is passed over.
    Cost: 1 + `probes` calls of f.
    """
    given, made = (f, args, kwargs), dtype if default else None
    answers = run(clone(given) if dtype is None else convert(given, dtype), made, within)
    answers = [(path, precise(leaf) if real(leaf) else leaf) for path, leaf in answers]
    far = [torch.zeros_like(a) if real(a) else None for _, a in answers]
    signs = torch.Generator().manual_seed(0)
    for _ in range(probes):
        with suppress(Exception):
            probe = dict(run(moved(given, signs, dtype, reach), made, within))
            far = [farther(m, a, probe.get(p)) for m, (p, a) in zip(far, answers, strict=True)]
    pairs = zip(answers, far, strict=True)
    return [Allowance(path, a, None if m is None else reduced(m)) for (path, a), m in pairs]


def reduced(moved: Tensor) -> Tensor:
    """The largest response per (row, position), the trailing axes kept as 1."""
    trailing = tuple(range(min(2, max(moved.ndim - 1, 0)), moved.ndim))
    if not trailing or not moved.numel():
        return moved
    return moved.amax(trailing, keepdim=True)


def farther(moved: Tensor | None, answer: Any, probe: Any) -> Tensor | None:
    """The response so far, or what this probe moved where that is more."""
    if moved is None or not real(probe) or precise(probe).shape != answer.shape:
        return moved
    return torch.maximum(moved, (precise(probe) - answer).abs().nan_to_num(0, 0, 0))


def moved(given: Any, signs: torch.Generator, dtype: torch.dtype | None, reach: float) -> Any:
    """A copy of everything given in `dtype`, each number moved by `reach` units of its own."""

    def move(t: Tensor) -> Tensor:
        real = torch.view_as_real(t) if t.is_complex() else t
        coin = torch.randint(0, 2, real.shape, generator=signs) * 2 - 1
        there = real.double() + coin.to(t.device) * reach * unit(real, real.dtype)
        there = torch.view_as_complex(there) if t.is_complex() else there
        return there.to(alike(t, dtype) if dtype else t.dtype)

    with torch.no_grad():
        return alter(given, move)
