"""What every program of a recurrence is handed."""

from collections.abc import Callable
from typing import Any

from numba import types

from ...machine.loop import arguments


def signature(tensors: int) -> Callable[[tuple[Any, Any]], tuple[Any, ...]]:
    """The types of what a program is handed, for the elements of sequences and of results.

    `told[0]` are its tensors, the sizes, a flag, and a zero of each of the three types of numbers:
    of sequences, of results and of states. `part[0]` is a piece.
    """

    def of(key: tuple[Any, Any]) -> tuple[Any, ...]:
        acc = types.float64 if key[0] == types.float64 else types.float32
        told = types.UniTuple(types.UniTuple(types.int64, 6), tensors)
        # The zeros come last: they are shorter than the other numbers, which stand side by side.
        zeros = types.Tuple((*key, acc))
        return arguments((told, types.UniTuple(types.int64, 6), types.int64, zeros), 4)

    return of
