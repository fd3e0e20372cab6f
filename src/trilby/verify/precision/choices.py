"""The discrete choices of a call: which numbers were compared, and how it fell out.

An expert that is picked, the largest k of a row, a threshold: in half precision two numbers that
nearly tie may fall the other way, and all that follows is another function. No rounding of the
inputs need show it, since a sum or a softmax in between is rounded too. So the float64 twin is
made to choose as the call did, wherever the numbers that it chooses between lie no farther apart
than rounding may carry them. What remains is judged as ever.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..copies.nested import clone, convert
from .allowance import FACTOR, PROBES, Allowance, Within, allowances, moved, run, unit

_aten: Any = torch.ops.aten
COMPARED = frozenset((_aten.gt, _aten.lt, _aten.ge, _aten.le, _aten.eq, _aten.ne))
PICKED = frozenset(
    (_aten.argmax, _aten.argmin, _aten.topk, _aten.sort, _aten.argsort, _aten.max, _aten.min,
     _aten.cummax, _aten.cummin, _aten.kthvalue, _aten.median)
)  # fmt: skip
ROUNDED = frozenset((_aten.round, _aten.floor, _aten.ceil, _aten.trunc, _aten.sign))


Ways = tuple[Within, Within]
"""What the call itself runs in, and what its float64 twin does."""


@dataclass
class Choice:
    """One operation that chooses.

    Attributes:
        func: the operator.
        numbers: what it chose between, in float64.
        chosen: a mask, indices, or whole numbers.
        dim: along which indices were picked.
        moved: how far one unit of the inputs moves each of the numbers.
    """

    func: Any
    numbers: list[Tensor]
    chosen: Tensor
    dim: int = 0
    moved: list[Tensor] = field(default_factory=list)

    def like(self, other: "Choice") -> bool:
        """Whether two runs make the same choice here, among as many numbers."""
        shapes = [[t.shape for t in (*c.numbers, c.chosen)] for c in (self, other)]
        return self.func.overloadpacket == other.func.overloadpacket and shapes[0] == shapes[1]

    def farther(self, other: "Choice") -> None:
        """Remember how far the numbers of a probe are from these."""
        here = self.moved or [torch.zeros_like(t) for t in self.numbers]
        away = [(a - b).abs().nan_to_num(0, 0, 0)
                for a, b in zip(self.numbers, other.numbers, strict=True)]  # fmt: skip
        self.moved = [torch.maximum(m, a) for m, a in zip(here, away, strict=True)]


class Choices(TorchDispatchMode):
    """Remembers the choices of a call, or makes them as another call did.

    Attributes:
        made: the choices, in order.
        turned: how many fell otherwise than the numbers here say.
    """

    def __init__(
        self,
        held: list[Choice] | None = None,
        dtype: torch.dtype | None = None,
        reach: list[Choice] | None = None,
    ) -> None:
        """With `held` they are made as there; with a `dtype` only where its rounding may do that.

        `reach` are the same choices with how far their numbers move.
        """
        super().__init__()
        self.held, self.dtype, self.reach = held, dtype, reach or []
        self.made: list[Choice] = []
        self.turned = 0

    def itself(self) -> "Choices":
        """This mode, to be run within."""
        return self

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not _chooses(func, args, kwargs or {}, result):
            return result
        numbers = [a.detach().double() for a in args[:2] if _floating(a)]
        if len(numbers) == 1 and func.overloadpacket in COMPARED:
            numbers.append(torch.as_tensor(args[1], dtype=torch.float64))
        own = Choice(func, numbers, _chosen(result), _dim(func, args, kwargs or {}) or 0)
        theirs = self._theirs(own)
        if theirs is not None and not torch.equal(theirs, own.chosen):
            self.turned += 1
            result = _otherwise(result, theirs, args[0], own.dim)
            own.chosen = theirs
        own.numbers = [t.clone() for t in own.numbers]
        own.chosen = own.chosen.clone()
        self.made.append(own)
        return result

    def _theirs(self, own: Choice) -> Tensor | None:
        """What was chosen in the other call, as far as that is legal here; None: nothing known."""
        at = len(self.made)
        if self.held is None or at >= len(self.held) or not self.held[at].like(own):
            return None
        theirs = self.held[at].chosen
        if self.dtype is None:
            return theirs
        known = at < len(self.reach) and self.reach[at].like(own)
        moved = self.reach[at].moved if known else []
        return legal(own, theirs, moved, self.dtype)


def _otherwise(result: Any, theirs: Tensor, x: Tensor, dim: int) -> Any:
    """The result of an operation with another choice; values follow the indices."""
    if isinstance(result, Tensor):
        return theirs.to(result.dtype)
    values = x.gather(dim, _beside(theirs, x, dim)).reshape(result[0].shape)
    return type(result)((values, theirs))


def legal(own: Choice, theirs: Tensor, moved: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Of what was chosen elsewhere, what rounding to `dtype` may choose between these numbers.

    A number may be off by eight times its response to the inputs and eight units of itself; whole
    numbers, which count and do not measure, by their response alone.
    """
    near = moved or [torch.zeros(()) for _ in own.numbers]
    reach = [FACTOR * (m + torch.where(t == t.round(), 0.0, unit(t, dtype)))
             for t, m in zip(own.numbers, near, strict=True)]  # fmt: skip
    packet = own.func.overloadpacket
    if packet in COMPARED:
        a, b = own.numbers
        may = (a - b).abs() <= reach[0] + reach[1]  # not where one is infinite
        return torch.where(may.expand_as(theirs), theirs, own.chosen)
    x, far = own.numbers[0], reach[0]
    if packet in ROUNDED:
        low, high = own.func(x - far), own.func(x + far)
        return torch.where((low <= theirs) & (theirs <= high), theirs, own.chosen)
    mine, other = (_beside(t, x, own.dim) for t in (own.chosen, theirs))
    if not theirs.numel() or int(other.max()) >= x.shape[own.dim]:
        return own.chosen
    a, b = x.gather(own.dim, mine), x.gather(own.dim, other)
    apart = torch.where(a == b, 0.0, (a - b).abs())  # a row may hold more than one infinity
    may = apart <= far.gather(own.dim, mine) + far.gather(own.dim, other)
    every = may.all(own.dim, keepdim=True).expand_as(mine)  # all of a row or none of it
    return torch.where(every, other, mine).reshape(theirs.shape)


def _beside(index: Tensor, x: Tensor, dim: int) -> Tensor:
    """Indices with the axis along which they were picked, though it may be gone."""
    return index if index.ndim == x.ndim else index.unsqueeze(dim)


def _floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _chooses(func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> bool:
    """Whether an operator makes a choice among floating numbers."""
    packet = getattr(func, "overloadpacket", None)
    if not args or not _floating(args[0]) or func._schema.is_mutable:
        return False
    if packet in PICKED:
        found = _chosen(result) if isinstance(result, Tensor | tuple) else args[0]
        return _dim(func, args, kwargs) is not None and not found.is_floating_point()
    return packet in COMPARED or packet in ROUNDED


def _dim(func: Any, args: Any, kwargs: dict[str, Any]) -> int | None:
    """The axis along which an operator picks; None where it has none, or picks from all axes."""
    takes = func._schema.arguments
    given = dict(zip((a.name for a in takes), args, strict=False)) | kwargs
    dim = ({a.name: a.default_value for a in takes} | given).get("dim")
    rank = args[0].ndim
    if dim is None:
        return 0 if rank == 1 else None
    return int(dim) % rank if rank else None


def _chosen(result: Any) -> Tensor:
    chosen: Tensor = result if isinstance(result, Tensor) else result[1]
    return chosen.detach()


def followed(
    f: Callable[..., Any], args: tuple[Any, ...], within: Ways, dtype: torch.dtype
) -> tuple[list[tuple[str, Any]], list[Allowance]] | None:
    """The results of f in `dtype`, and their tolerances when the twin makes the same choices.

    None where no choice was made, or none fell otherwise than the twin's as far as rounding to
    `dtype` may turn it. Cost: 5 + 2 `PROBES` calls of f.
    """
    given: tuple[Any, ...] = (f, args, {})
    plain, twin = within
    seen, base = Choices(), Choices()
    got = run(clone(given), within=_nested(plain, seen))
    run(convert(given, torch.float64), torch.float64, _nested(twin, base))
    if not seen.made or len(seen.made) != len(base.made):
        return None
    signs = torch.Generator().manual_seed(0)
    for _ in range(PROBES):
        probe = Choices(base.made)
        with suppress(Exception):
            run(moved(given, signs, torch.float64, 1.0), torch.float64, _nested(twin, probe))
        for one, other in zip(base.made, probe.made, strict=False):
            if one.like(other):
                one.farther(other)
    alike = Choices(seen.made, dtype, base.made)
    run(convert(given, torch.float64), torch.float64, _nested(twin, alike))
    if not alike.turned:
        return None
    held = lambda: _both(twin, Choices(alike.made))
    return got, allowances(f, args, {}, within=held)


def _nested(within: Within, mode: Choices) -> Within:
    return lambda: _both(within, mode)


@contextmanager
def _both(within: Within, mode: Choices) -> Iterator[None]:
    with within(), mode:
        yield
