"""What every program of a recurrence is handed."""

from collections.abc import Callable
from typing import Any

from numba import types


def signature(tensors: int) -> Callable[[tuple[Any, Any]], tuple[Any, ...]]:
    """The types of what a program is handed, for the elements of sequences and of results."""

    def of(key: tuple[Any, Any]) -> tuple[Any, ...]:
        acc = types.float64 if key[0] == types.float64 else types.float32
        told = types.UniTuple(types.UniTuple(types.int64, 6), tensors)
        size, piece = (types.UniTuple(types.int64, n) for n in (6, 4))
        return (types.Tuple((*key, acc)), told, size, piece, types.boolean, types.int64)

    return of
