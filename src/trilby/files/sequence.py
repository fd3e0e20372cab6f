"""The interface of readers and writers of sequences: layout, block, source and sink.

A sequence is stored as `[T]`, `[T, C]` or `[B, T, C]`; inside trilby it is always `[B, T, C]`.
Blocks are in the order of the numbers in the file, so reading and writing are sequential, and only
one block is in memory at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, Self

import numpy as np

from ..errors import FileError

BITS: dict[str, np.dtype] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),  # numpy has no bfloat16, so its raw bits
}
"""The dtypes of a sequence, and the numpy dtype that holds each."""

WHOLE: dict[str, np.dtype] = {"int64": np.dtype("<i8"), "int32": np.dtype("<i4")}
"""The dtypes of document ids, and the numpy dtype that holds each."""

BLOCK_BYTES = 4 << 20
"""The size of a block in bytes, approximately, if the number of steps is not given."""


@dataclass(frozen=True)
class Layout:
    """How a sequence is stored in its file.

    Attributes:
        shape: `[T]`, `[T, C]`, `[B, T, C]` or `[B, T, ...]`, whose last axes count as C; T is None
            if it is unknown before the end.
        dtype: a key of `BITS` or of `WHOLE`.
        columns: names of the channels, if the file has them.
        kept: names of the columns that are copied to the output as they are.

    >>> Layout((5, 2), "float32").T
    5
    """

    shape: tuple[int | None, ...]
    dtype: str
    columns: tuple[str, ...] | None = None
    kept: tuple[str, ...] = ()

    @property
    def B(self) -> int:
        return (self.shape[0] or 0) if len(self.shape) > 2 else 1

    @property
    def T(self) -> int | None:
        return self.shape[1 if len(self.shape) > 2 else 0]

    @property
    def C(self) -> int:
        return prod(n or 0 for n in self.shape[2 if len(self.shape) > 2 else 1 :])

    @property
    def bits(self) -> np.dtype:
        return (BITS | WHOLE)[self.dtype]

    @property
    def step_bytes(self) -> int:
        """Bytes of one position of one row."""
        return self.C * self.bits.itemsize

    def steps(self) -> int:
        """The number of positions in a block of about `BLOCK_BYTES`."""
        return max(1, BLOCK_BYTES // max(1, self.step_bytes))


class Block(NamedTuple):
    """A block of a sequence.

    Attributes:
        rows: which rows of the batch; a block either continues one row or holds whole ones.
        values: `[rows, steps, C]` in the numpy dtype of the layout.
        kept: a pyarrow.Table of the columns `kept` of the layout, if there are any.
    """

    rows: slice
    values: np.ndarray
    kept: Any = None


class Source(ABC):
    """A sequence in a file, read block by block.

    Attributes:
        name: the path, as the user wrote it.
        layout: shape, dtype and columns.
        size: how many bytes there are to read; None if unknown.
        done: how many bytes have been read.
        skipped: how many missing values were skipped.
        noted: sentences about what was not asked for, such as a separator that was guessed.
    """

    name: str
    layout: Layout
    size: int | None
    done: int = 0
    skipped: int = 0
    noted: tuple[str, ...] = ()

    @abstractmethod
    def blocks(self, steps: int | None = None) -> Iterator[Block]:
        """Yield every block once, in order; a long row is split into blocks of `steps` positions.

        There is at least one block for every row, even for an empty one.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sink(ABC):
    """A writer of a sequence, block by block in the order of the file."""

    def keep(self, kept: Any) -> None:
        """Take the kept columns of the next block, a pyarrow.Table; tables only."""
        raise NotImplementedError(f"{type(self).__name__} holds numbers alone")

    @abstractmethod
    def append(self, values: np.ndarray) -> None:
        """Write the next `[rows, steps, C]` values, in the numpy dtype of the layout."""

    @abstractmethod
    def finish(self, steps: int) -> None:
        """Write what is known only at the end; `steps` is the length T of every row."""

    def abort(self) -> None:  # noqa: B027  # most sinks hold nothing of their own
        """Release everything that the sink holds, except the file."""


def sequence(name: str, shape: tuple[int, ...], dtype: str, integers: bool = False) -> Layout:
    """The layout of an array; raises FileError if it is not a sequence.

    Args:
        name: the path, for errors.
        shape: of the array.
        dtype: its name, as numpy writes it.
        integers: whether integers of any size may be read, as float64.
    """
    if len(shape) not in (1, 2, 3):
        raise FileError(
            f"{name}: has shape {list(shape)}, expected [T], [T, C] or [B, T, C]; reshape it"
        )
    if integers and dtype.removeprefix("u") in ("int8", "int16", "int32", "int64"):
        return Layout(shape, "float64")
    if dtype not in BITS:
        more = " or integers" if integers else ""
        raise FileError(f"{name}: holds {dtype}, expected {', '.join(BITS)}{more}; convert it")
    return Layout(shape, dtype)
