"""What a law finds: one comparison, with its place and its numbers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..copies.nested import Leaves
from ..precision.allowance import Allowance, unit
from ..wording import described
from .difference import difference
from .witness import NOWHERE, Witness

Allow = Callable[[str, Tensor], Tensor]
"""(path, leaf that is wanted) -> the error allowed of each element; broadcasts to the leaf."""


class NotRun(Exception):
    """A law cannot be run here; the message says why."""


@dataclass(frozen=True)
class Finding:
    """One comparison that a law made.

    Attributes:
        kind: what is wrong if it is broken, e.g. "leak".
        place: the worst element, e.g. "y[0, 3]".
        text: what a sentence says about that place, e.g. "reads x[0, 5]  change 0.031".
        note: what a reader should know although nothing is broken.
        units: of rounding, where the note is about that.
        witness: the same as data; the sentence is written from it, and nothing reads it back.
    """

    kind: str
    broken: bool = False
    error: float = 0.0
    allowed: float = 0.0
    place: str = ""
    text: str = ""
    note: str = ""
    units: float = 0.0
    witness: Witness = NOWHERE

    def at(self, **witness: Any) -> "Finding":
        """The same finding, with more said of where it shows."""
        return replace(self, witness=replace(self.witness, **witness))

    @property
    def ratio(self) -> float:
        """How near the error comes to what is allowed."""
        return self.error / max(self.allowed, 1e-300)


def compare(kind: str, got: Leaves, wanted: Leaves, allow: Allow, than: str = "") -> Finding:
    """The worst difference between two results, `y` before the state.

    Other paths, shapes, dtypes and NaN against a number are broken; `than` says what `wanted` is.
    """
    if [path for path, _ in got] != [path for path, _ in wanted]:
        text = f"returns {_paths(got)} where {_paths(wanted)} is wanted{than}"
        return Finding(kind, True, torch.inf, 0.0, "the result", text)
    best = Finding(kind)
    for (path, a), (_, b) in zip(got, wanted, strict=True):
        found = _leaf(kind, path, a, b, allow, than)
        if found.broken:
            return found
        best = max(best, found, key=lambda f: f.ratio)
    return best


def _leaf(kind: str, path: str, a: Any, b: Any, allow: Allow, than: str) -> Finding:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        equal = type(a) is type(b) and (a is b or bool(a == b))
        return Finding(kind, not equal, 0.0, 0.0, path, f"is {a!r:.40}, not {b!r:.40}{than}")
    if a.shape != b.shape or a.dtype != b.dtype:
        text = f"is {described(a)}, not {described(b)}{than}"
        return Finding(kind, True, torch.inf, 0.0, path, text)
    worst = difference(path, a, b, allow(path, b), b.dtype)
    if worst is None:
        return Finding(kind)
    number, wanted = worst.values
    text = f"is {number:.6g}, not {wanted:.6g}{than}  off by {worst.error:.2g}"
    text += f", allowed {worst.allowed:.2g}" if worst.allowed else ""
    found = Finding(kind, worst.broken, worst.error, worst.allowed, worst.place, text)
    in_output = path == "y" and len(worst.index) > 1
    return found.at(row=worst.index[0], position=worst.index[1]) if in_output else found


def exactly(_path: str, _wanted: Tensor) -> Tensor:
    """Nothing is allowed."""
    return torch.zeros(())


def rounding(_path: str, wanted: Tensor) -> Tensor:
    """Eight units of the dtype, for calls that may add up in another order; integers exactly."""
    if not wanted.is_floating_point():
        return torch.zeros(())
    return 8 * unit(wanted, wanted.dtype)


def within(limits: dict[str, Allowance], whole: bool = False) -> Allow:
    """What rounding may do to each leaf; `whole` as in `Allowance.allowed`."""
    return lambda path, wanted: limits[path].allowed(_of(wanted), whole)


def _of(wanted: Tensor) -> torch.dtype:
    return wanted.dtype if wanted.is_floating_point() else torch.float64


def _paths(found: Leaves) -> str:
    return ", ".join(path for path, _ in found) or "nothing"
