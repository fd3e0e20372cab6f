"""What a program works with, declared once: a line for each tensor and for each place.

A record is a NamedTuple class. An annotation says what a name is: `x: down()` is a sequence whose
numbers run down the rows of the state, and the program has a place for a chunk of it. From the
record follow the sizes of the places, and where each head begins in each tensor.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types
from numba.extending import register_jitable

from ...machine.compiler import inner
from ...simd.places import row
from .sequences import Part, StatePart, shape_of

ELEMENT, RESULT, NUMBER = 0, 1, 2
"""Whose dtype a tensor has: that of the sequences, of the results, or of the states."""


class Entry(NamedTuple):
    """What an annotation says."""

    kind: int
    part: Any  # makes what a head has of the tensor; None where it is scratch memory alone
    numbers: Callable[..., Any]  # how many its place has, of (span, size, shape)


class Record(NamedTuple):
    """What follows from a record, for compiled code."""

    places: Any  # (size, piece) -> how many numbers each place has
    parts: Any  # (kinds, tensors, size, shape, b, h) -> what a head has of each tensor
    signature: Any


@inner()
def _part(like, told, b, h, heads, left, n, width):
    """Heads of the sequence that are fewer are shared evenly."""
    address, batch, time, head, step, few = told
    at = b * batch + (h * few // heads) * head + left * step
    return Part(row(address, like, at), time, step, n, width, h % (heads // few) == 0)


@inner()
def _down(like, told, b, h, heads, shape):
    return _part(like, told, b, h, heads, 0, shape.rows, shape.height)


@inner()
def _along(like, told, b, h, heads, shape):
    return _part(like, told, b, h, heads, shape.left, shape.columns, shape.width)


@inner()
def _single(like, told, b, h, heads, shape):
    return _part(like, told, b, h, heads, 0, 1, 1)


@inner()
def _shares(like, told, b, h, heads, shape):
    return _part(like, told, b, h, heads, 2 * (shape.left // shape.lanes), 2 * shape.blocks, 0)


@inner()
def _state(like, told, b, h, heads, shape):
    address, batch, head, down, step, _ = told
    return StatePart(row(address, like, b * batch + h * head + shape.left * step), down, step)


def down(kind: int = ELEMENT) -> Any:
    """A sequence [B, T, heads, rows]."""
    return Entry(kind, _down, lambda span, _size, shape: span * shape.height)


def along(kind: int = ELEMENT) -> Any:
    """A sequence [B, T, heads, columns]."""
    return Entry(kind, _along, lambda span, _size, shape: span * shape.width)


def single() -> Any:
    """A number for each position and head, [B, T, heads, 1], in the dtype of the states."""
    return Entry(NUMBER, _single, lambda span, _size, _shape: span)


def shares() -> Any:
    """Two numbers for each position, head and block of columns; they have no place."""
    return Entry(NUMBER, _shares, lambda _span, _size, _shape: 0)


def state() -> Any:
    """A state [B, heads, rows, columns]; it has no place."""
    return Entry(NUMBER, _state, lambda _span, _size, _shape: 0)


def scratch(numbers: Callable[..., Any]) -> Any:
    """A place and no tensor: so many numbers, of (span, size, shape)."""
    return Entry(NUMBER, None, numbers)


def record(names: Any, span: Callable[[Any], Any]) -> Record:
    """Read a record; `span`: how many positions a chunk has in scratch memory, of T."""
    entries: dict[str, Entry] = names.__annotations__
    told = [name for name, entry in entries.items() if entry.part is not None]
    known: dict[str, Any] = dict(names=names, shape_of=shape_of, span_of=register_jitable(span))
    sizes, parts = [], []
    for name, (kind, part, numbers) in entries.items():
        known |= {f"n_{name}": register_jitable(numbers), f"part_{name}": part}
        sizes.append(f"n_{name}(span_of(size.T), size, shape)")
        which = f"kinds[{kind}], tensors[{told.index(name)}]" if part is not None else ""
        parts.append(f"part_{name}({which}, b, h, size.heads, shape)" if which else "0")
    text = (
        "def places(size, piece):\n"
        "    shape = shape_of(size, piece)\n"
        f"    return names({', '.join(sizes)})\n"
        "def parts(kinds, tensors, size, shape, b, h):\n"
        f"    return names({', '.join(parts)})\n"
    )
    exec(text, known)  # numba compiles no loop over fields of different types
    return Record(register_jitable(known["places"]), inner()(known["parts"]), signature(len(told)))


def signature(tensors: int) -> Callable[[tuple[Any, Any]], tuple[Any, ...]]:
    """The types of what a program is handed, for the elements of sequences and of results."""

    def of(key: tuple[Any, Any]) -> tuple[Any, ...]:
        acc = types.float64 if key[0] == types.float64 else types.float32
        told = types.UniTuple(types.UniTuple(types.int64, 6), tensors)
        size, piece = (types.UniTuple(types.int64, n) for n in (6, 4))
        return (types.Tuple((*key, acc)), told, size, piece, types.boolean, types.int64)

    return of
