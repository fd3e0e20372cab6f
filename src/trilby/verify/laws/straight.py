"""Straight-through estimators: a value that moves in steps, with a gradient as if it did not.

`x + (q(x) - x).detach()` has the value of `q(x)` and the gradient of `x`, on purpose. Such a
gradient is no slope of the function. It is that of another one, which can be run: the same code, in
which what is detached beside rounded values stays where it is, or in which rounding is left out.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..precision.choices import COMPARED, PICKED, ROUNDED

_aten: Any = torch.ops.aten
STRAIGHT = "values are rounded or chosen, and the gradient is straight through, as if they were not"
WAYS = ("held", "moved", "left out", "clipped")
"""What becomes of a rounded value: it stays, with what is detached beside it; it moves as the
number does that was rounded; it is that number; it moves where that number is between -1 and 1."""
_SUMS = frozenset((_aten.add, _aten.sub, _aten.rsub))
_PASSES = _SUMS | frozenset(
    (_aten.mul, _aten.div, _aten.neg, _aten.clamp, _aten.clamp_min, _aten.clamp_max, _aten._to_copy,
     _aten.clone, _aten.view, _aten._unsafe_view, _aten.expand, _aten.unsqueeze, _aten.squeeze,
     _aten.permute, _aten.transpose, _aten.where, _aten.scatter, _aten.scatter_, _aten.index,
     _aten.embedding, _aten.gather, _aten.slice, _aten.select, _aten.cat, _aten.stack,
     _aten.index_select, _aten.detach, _aten.alias)
)  # fmt: skip
_EQUAL = frozenset((_aten.eq, _aten.ne))  # mostly of masks


class Steps(TorchDispatchMode):
    """The operations of a call whose value moves in steps, and what is detached.

    A value that comes from a step is followed through arithmetic and indexing, not beyond: behind
    the next product of matrices a `detach` is what it always is.

    Attributes:
        rounded: (number, rounded) of each rounding, in order.
        detached: what each `detach` gave.
        held: which of those come from a step, or are added to something that does.
        chosen, signs: whether something was compared or picked, and whether a sign was taken.
    """

    def __init__(self, known: "Steps | None" = None, way: str = "") -> None:
        """With `known`, the steps of an earlier call, and `way`, one of WAYS, replace them."""
        super().__init__()
        self.known, self.way = known, way
        self.rounded: list[tuple[Tensor, Tensor]] = []
        self.detached: list[Tensor] = []
        self.held, self.chosen, self.signs = set[int](), False, False
        self._from_step: dict[int, Tensor] = {}  # by id; kept, so that no id comes twice
        self._from_detach: dict[int, tuple[int, Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found, packet = func(*args, **(kwargs or {})), func.overloadpacket
        if packet in ROUNDED:
            self.signs = self.signs or packet is _aten.sign
            found = self._rounding(args[0], found)
        elif packet in PICKED or (packet in COMPARED - _EQUAL and _real(args[0])):
            self.chosen = True
            self._follow(found[-1] if isinstance(found, tuple) else found)
        elif packet in _PASSES:
            given = [t for a in args for t in (a if isinstance(a, list | tuple) else [a])]
            from_step = any(id(t) in self._from_step for t in given)
            if packet in _SUMS and from_step:
                self.held |= {self._from_detach[id(t)][0] for t in given if self._is_detached(t)}
            found = self._detaching(found, from_step) if packet is _aten.detach else found
            if from_step:
                self._follow(found)
        return found

    def _rounding(self, number: Tensor, rounded: Tensor) -> Tensor:
        self.rounded.append((number.clone(), rounded.clone()))
        if self.known is not None:
            before, kept = self.known.rounded[len(self.rounded) - 1]
            self._same(number, before)
            moved = number - before
            inside = torch.where(before.abs() <= 1, moved, 0)
            rounded = {
                "held": kept.clone(), "moved": kept + moved, "left out": number.clone(),
                "clipped": kept + inside,
            }[self.way]  # fmt: skip
        self._follow(rounded)
        return rounded

    def _detaching(self, found: Tensor, from_step: bool) -> Tensor:
        i = len(self.detached)
        self.detached.append(found.clone())
        if from_step:
            self.held.add(i)
        if self.known is not None and self.way == "held" and i in self.known.held:
            self._same(found, self.known.detached[i])
            found = self.known.detached[i].clone()
        self._from_detach[id(found)] = i, found
        return found

    def _same(self, now: Tensor, before: Tensor) -> None:
        """Raise unless the call makes the same steps as the one before."""
        if now.shape != before.shape:
            raise ValueError(f"another step than before: {list(now.shape)}, {list(before.shape)}")

    def _follow(self, t: Tensor) -> None:
        self._from_step[id(t)] = t

    def _is_detached(self, t: Any) -> bool:
        return id(t) in self._from_detach

    @property
    def only_rounds(self) -> bool:
        """Whether all steps are those of rounding."""
        return bool(self.rounded) and not self.chosen and not self.signs

    def ways(self) -> list[str]:
        """What there is to replace."""
        return [w for w in WAYS if (self.held if w == "held" else self.rounded)]


def is_straight(got: float, slopes: Callable[[str], Any], known: Steps, noise: float) -> bool:
    """Whether a gradient is the slope of the call with one of the `ways`.

    Args:
        got: the gradient along a direction.
        slopes: a way -> the `Slope` there.
        known: the steps of the call.
        noise: how far a slope may be off besides.

    The opposite of the slope without rounding is none of them, whatever was detached.
    """
    ways = known.ways()
    if "left out" in ways:
        plain = slopes("left out")
        if abs(plain.value) > noise and abs(got + plain.value) < 0.1 * abs(plain.value):
            return False
    found = (slopes(way) for way in ways)
    return any(abs(got - one.value) <= one.allowed + noise for one in found)


def _real(t: Any) -> bool:
    return isinstance(t, Tensor) and t.is_floating_point()
