"""What every reader and every writer of sequences agrees on: the layout, the block, the two doors.

A sequence lies in its file as `[T]`, `[T, C]` or `[B, T, C]`; inside trilby it is always
`[B, T, C]`. Blocks come in the order in which the numbers lie in the file, so that reading and
writing are sequential and a block is all that is ever held in memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple, Self

import numpy as np

from ..errors import FileError

BITS: dict[str, np.dtype] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),  # numpy has no bfloat16: its sixteen bits, as they lie in the file
}
"""The dtypes of a sequence, and the numpy dtype that carries each."""

WHOLE: dict[str, np.dtype] = {"int64": np.dtype("<i8"), "int32": np.dtype("<i4")}
"""The dtypes of the ids of documents, and the numpy dtype that carries each."""

BLOCK_BYTES = 4 << 20
"""About how many bytes of input a block holds if nobody says how many steps it has."""


@dataclass(frozen=True)
class Layout:
    """How a sequence lies in its file.

    Attributes:
        shape: `[T]`, `[T, C]`, `[B, T, C]` or `[B, T, ...]`, whose last axes count as C; T is None
            where it is not known before the end.
        dtype: a key of `BITS` or of `WHOLE`.
        columns: names of the channels, where the file has them.

    >>> Layout((5, 2), "float32").T
    5
    """

    shape: tuple[int | None, ...]
    dtype: str
    columns: tuple[str, ...] | None = None

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
        """How many positions make a block of about `BLOCK_BYTES`."""
        return max(1, BLOCK_BYTES // max(1, self.step_bytes))


class Block(NamedTuple):
    """A stretch of a sequence.

    Attributes:
        rows: which rows of the batch; a block either continues one row or holds whole ones.
        values: `[rows, steps, C]` in the numpy dtype of the layout.
    """

    rows: slice
    values: np.ndarray


class Source(ABC):
    """A sequence in a file, read block after block.

    Attributes:
        name: the path, as the user wrote it.
        layout: shape, dtype and columns.
        size: how many bytes there are to read; None where nobody knows.
        done: how many bytes have been read.
        skipped: how many rows with missing values were left out.
    """

    name: str
    layout: Layout
    size: int | None
    done: int = 0
    skipped: int = 0

    @abstractmethod
    def blocks(self, steps: int | None = None) -> Iterator[Block]:
        """Yield every block once, in order, of at most `steps` positions where one row is longer.

        There is always at least one block for every row, be it empty.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sink(ABC):
    """A sequence on its way into a file, written block after block in the order of the file."""

    @abstractmethod
    def append(self, values: np.ndarray) -> None:
        """Write the next `[rows, steps, C]` values, in the numpy dtype of the layout."""

    @abstractmethod
    def finish(self, steps: int) -> None:
        """Write what is only known at the end; `steps` is the length T of every row."""

    def abort(self) -> None:  # noqa: B027  # most sinks hold nothing of their own
        """Let go of everything that the sink holds, the file apart."""


def sequence(name: str, shape: tuple[int, ...], dtype: str) -> Layout:
    """The layout of an array, or a sentence saying why it is not a sequence."""
    if len(shape) not in (1, 2, 3):
        raise FileError(
            f"{name}: has shape {list(shape)}, expected [T], [T, C] or [B, T, C]; reshape it"
        )
    if dtype not in BITS:
        raise FileError(
            f"{name}: holds {dtype}, expected {', '.join(BITS)}; convert it, nothing is cast here"
        )
    return Layout(shape, dtype)
