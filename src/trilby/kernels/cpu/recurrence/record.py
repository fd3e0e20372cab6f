"""What a program works with, declared once: a line for each tensor and for each place.

A record is a NamedTuple class. An annotation says what a name is: `x: down()` is a sequence whose
numbers run down the rows of the state, and the program has a place for a chunk of it. From the
record follow the sizes of the places, and where each head begins in each tensor.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types

from ...machine.compiler import inner
from ...machine.loop import arguments
from .sequences import (
    PARTS,
    Piece,
    Size,
    along_of,
    down_of,
    shape_of,
    share_of,
    shares_of,
    single_of,
    state_of,
)

ELEMENT, RESULT, NUMBER = 0, 1, 2
"""Whose dtype a tensor has: that of the sequences, of the results, or of the states."""


class Entry(NamedTuple):
    """What an annotation says."""

    kind: int
    part: Any  # makes what a head has of the tensor; None where it is scratch memory alone
    numbers: Callable[..., int]  # how many its place has, of (span, size, shape)


class Record(NamedTuple):
    """What follows from a record."""

    places: Callable[[Size, Piece], list[int]]  # how many numbers each place has
    parts: Any  # in compiled code (kinds, tensors, size, shape, b, h): what a head has of each
    signature: Callable[[tuple[Any, Any]], tuple[Any, ...]]


def down(kind: int = ELEMENT) -> Any:
    """A sequence [B, T, heads, rows]."""
    return Entry(kind, down_of, lambda span, _size, shape: span * shape.height)


def along(kind: int = ELEMENT) -> Any:
    """A sequence [B, T, heads, columns]."""
    return Entry(kind, along_of, lambda span, _size, shape: span * shape.width)


def single() -> Any:
    """A number for each position and head, [B, T, heads, 1], in the dtype of the states."""
    return Entry(NUMBER, single_of, lambda span, _size, _shape: span)


def shares() -> Any:
    """Two numbers for each position, head and block of columns; they have no place."""
    return Entry(NUMBER, shares_of, lambda _span, _size, _shape: 0)


def share() -> Any:
    """A number for each position, head and block of columns; they have no place."""
    return Entry(NUMBER, share_of, lambda _span, _size, _shape: 0)


def state() -> Any:
    """A state [B, heads, rows, columns]; it has no place."""
    return Entry(NUMBER, state_of, lambda _span, _size, _shape: 0)


def scratch(numbers: Callable[..., int]) -> Any:
    """A place and no tensor: so many numbers, of (span, size, shape)."""
    return Entry(NUMBER, None, numbers)


def positions() -> Any:
    """A place and no tensor: a number for each position of a chunk."""
    return scratch(lambda span, _size, _shape: span)


def blocks() -> Any:
    """A place and no tensor: a state, as blocks of columns."""
    return scratch(lambda _span, _size, shape: shape.rows * shape.width)


def record(names: Any, span_of: Callable[[int], int]) -> Record:
    """Read a record; a chunk of a sequence of T has `span_of(T)` positions in scratch memory."""
    entries: dict[str, Entry] = names.__annotations__
    told = [name for name, entry in entries.items() if entry.part is not None]

    def places(size: Size, piece: Piece) -> list[int]:
        span, shape = span_of(size.T), shape_of(size, piece)
        return [entry.numbers(span, size, shape) for entry in entries.values()]

    made = {f"part_{name}": entries[name].part for name in told} | {"names": names}
    fields = [
        f"{name}=part_{name}(kinds[{entries[name].kind}], tensors[{i}], b, h, size.heads, shape)"
        for i, name in enumerate(told)
    ] + [f"{name}=0" for name in entries if name not in told]
    # numba compiles no loop over fields of different types, so they are written out.
    # Functions of one name and with arguments of the same types must be the same: programs that two
    # processes compiled, and a third loads from disk, would take the one that was loaded first.
    made["__name__"], name = names.__module__, f"of_{names.__name__}"
    text = f"def {name}(kinds, tensors, size, shape, b, h): return names({', '.join(fields)})"
    exec(text, made)
    PARTS[names] = inner()(made[name])
    return Record(places, PARTS[names], signature(len(told), len(entries)))


def signature(tensors: int, places: int) -> Callable[[tuple[Any, Any]], tuple[Any, ...]]:
    """The types of what a program is handed, for the elements of sequences and of results.

    `told[0]` are its tensors, the sizes, where its places begin, a flag, and a zero of each of the
    three types of numbers: of sequences, of results and of states. `part[0]` is a piece.
    """

    def of(key: tuple[Any, Any]) -> tuple[Any, ...]:
        acc = types.float64 if key[0] == types.float64 else types.float32
        told = types.UniTuple(types.UniTuple(types.int64, 6), tensors)
        size, starts = (types.UniTuple(types.int64, n) for n in (6, places))
        # The zeros come last: they are shorter than the other numbers, which stand side by side.
        zeros = types.Tuple((*key, acc))
        return arguments((told, size, starts, types.int64, zeros), 4)

    return of
