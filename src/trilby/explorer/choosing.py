"""Which heads of a model are shown: those that were asked for, or as many as fit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import CallError
from .packing import WHOLE

if TYPE_CHECKING:
    from ..transformers.recording import Call
    from ..transformers.triangles import Kind

MOST = 256  # triangles of one page
EACH = 8  # heads of each layer where none was asked for
BYTES = 1_000_000_000  # of weights in float64

Chosen = int | Sequence[int] | None


@dataclass(frozen=True)
class Part:
    """What one layer does in one way, such as its attention.

    Attributes:
        calls: one, or one for each part of its heads.
        kind: how they are unfolded.
        path: of the module that called.
    """

    calls: "list[Call]"
    kind: "Kind"
    path: str

    @property
    def layer(self) -> int:
        """The number of its layer."""
        return self.calls[0].layer

    @property
    def count(self) -> int:
        """How many heads or channels it has."""
        return sum(self.kind.count(call) for call in self.calls)

    def split(self, heads: Sequence[int]) -> "Iterator[tuple[Call, list[int]]]":
        """These heads by call, numbered as in the call."""
        first = 0
        for call in self.calls:
            last = first + self.kind.count(call)
            inside = [head - first for head in heads if first <= head < last]
            if inside:
                yield call, inside
            first = last


def chosen(parts: list[Part], T: int, layer: Chosen, head: Chosen) -> list[tuple[Part, list[int]]]:
    """The parts that are shown, with the numbers of their heads.

    Raises:
        CallError: there is no such layer or head, or more are asked for than can be shown.
    """
    layers = _numbers("layer", layer)
    heads = _numbers("head", head)
    there = sorted({part.layer for part in parts})
    for number in layers or ():
        if number not in there:
            raise CallError(
                f"explore: layer is {number}, and the layers that can be shown are {_listed(there)}"
            )
    parts = [part for part in parts if layers is None or part.layer in layers]
    most = max(1, min(MOST, BYTES // (8 * T * T)))
    if heads is not None:
        return _asked(parts, heads, T, most)
    if len(parts) > most:
        if layers is not None:
            _refused(len(parts), T, most)
        parts = [parts[i * len(parts) // most] for i in range(most)]
    fit = min(most, WHOLE // (T * (T + 1) // 2)) // len(parts)
    each = max(1, fit if layers is not None else min(fit, EACH))
    return [(part, list(range(min(each, part.count)))) for part in parts]


def _asked(parts: list[Part], heads: list[int], T: int, most: int) -> list[tuple[Part, list[int]]]:
    found = [(part, [head for head in heads if head < part.count]) for part in parts]
    for head in heads:
        if not any(head < part.count for part in parts):
            counts = sorted({(part.count, f"{part.kind.word} {part.count}") for part in parts})
            raise CallError(
                f"explore: head is {head}, and heads are numbered from 0; there are "
                f"{', '.join(said for _, said in counts)}"
            )
    count = sum(len(some) for _, some in found)
    if count > most:
        _refused(count, T, most)
    return [(part, some) for part, some in found if some]


def _refused(count: int, T: int, most: int) -> None:
    raise CallError(
        f"explore: {count} heads are asked for, {8 * count * T * T / 1e9:.2g} GB of {T} x {T} "
        f"weights, and at most {most} are shown; choose fewer with layer= and head="
    )


def _numbers(name: str, given: Chosen) -> list[int] | None:
    """Numbers without repeats, in order; None for all."""
    if given is None:
        return None
    found: list[int] = []
    for number in given if isinstance(given, list | tuple | range) else [given]:
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise CallError(
                f"explore: {name} is {number!r}, expected a number from 0, or a list of numbers"
            )
        found.append(number)
    if not found:
        raise CallError(f"explore: {name} is empty; give a number, or leave it out")
    return sorted({*found})


def _listed(numbers: list[int]) -> str:
    """Numbers, those in a row as a range.

    >>> _listed([0, 1, 2, 5])
    '0 to 2, 5'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]} to {r[-1]}" for r in runs)
