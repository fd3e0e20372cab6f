"""Which part of a file each of several processes reads, in rounds of one block for each of them.

In every round the processes hold neighbouring stretches of time, in their order. So one block is in
the memory of each, and what a mixer leaves behind in a round is what the next one starts from.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from ..errors import FileError
from .bundle import IDS, Bundle
from .doors import kind_of
from .stored import Stored

R = TypeVar("R")

WHOLE = {
    "-": "a pipe is read and written from its beginning to its end",
    ".npz": "an archive has one checksum for all of its numbers",
    ".csv.gz": "what is compressed is read and written from its beginning to its end",
    ".tsv.gz": "what is compressed is read and written from its beginning to its end",
    ".parquet": "a .parquet is written by one process, and its row groups may have any size",
    ".txt": "which position a byte is depends on all characters before it",
}
"""The kinds of files that only one process can read or write -> why."""


class Share(Protocol):
    """What a process knows of the others that read the same file."""

    rank: int
    size: int

    def agreed(self, work: Callable[[], tuple[R, Sequence[int]]]) -> tuple[R, list[list[int]]]:
        """Do this process's work; return its result, and the numbers that each process has found.

        Raises:
            FileError: the work of any process failed; every process raises then.
        """


class Part(NamedTuple):
    """What one process reads in one round.

    Attributes:
        rows: which rows of the batch; a round either continues one row or holds whole ones.
        start: the position where the round begins.
        steps: how many positions it has, over all processes.
        at: the position where this process begins.
        values: argument -> `[rows, steps of this process, ...]`.
        kept: a pyarrow.Table of the columns that are copied, if there are any.
        last: [rows, 1], the document before this process's stretch; None at the beginning.
        fresh: whether a document begins where the round begins.
    """

    rows: slice
    start: int
    steps: int
    at: int
    values: dict[str, np.ndarray]
    kept: Any = None
    last: np.ndarray | None = None
    fresh: bool = False


def divisible(path: str) -> None:
    """Raise a FileError if only one process can read or write this kind of file."""
    kind = kind_of(path)
    if kind in WHOLE:
        name = "standard input or output" if path == "-" else path
        raise FileError(
            f"{name}: several processes cannot share it, {WHOLE[kind]}; give a .npy, .safetensors, "
            ".csv or .tsv, or run one process"
        )


def shared(bundle: Bundle, share: Share, steps: int | None) -> Iterator[Part]:
    """The part of every round that is this process's.

    Args:
        bundle: what is read.
        share: which process this one is.
        steps: how many positions of all rows a process holds; None for a table, where it is a
            number of bytes.
    """
    if isinstance(bundle.first, Stored):
        yield from _of_numbers(bundle, share, steps or bundle.steps())
        return
    from .sharedtable import rounds  # imports pyarrow, which an array does not need

    ((name, table),) = bundle.sources.items()
    start = 0
    for counts, values, kept in rounds(table, share):
        at, total = start + sum(counts[: share.rank]), sum(counts)
        yield Part(slice(0, 1), start, total, at, {name: values[None]}, kept)
        start += total


def _of_numbers(bundle: Bundle, share: Share, steps: int) -> Iterator[Part]:
    B, T = bundle.first.layout.B, bundle.first.layout.T or 0
    most = share.size * steps
    rows = max(1, most // T) if T else max(1, B)
    for b in range(0, max(B, 1), rows):
        part = slice(b, min(b + rows, B))
        for start in range(0, max(T, 1), most):
            count = min(most, T - start)
            at, stop = (start + count * r // share.size for r in (share.rank, share.rank + 1))

            def read(
                part: slice = part, start: int = start, at: int = at, stop: int = stop
            ) -> tuple[Any, list[int]]:
                return _read(bundle, part, start, at, stop - at), []

            (values, last, fresh), _ = share.agreed(read)
            yield Part(part, start, count, at, values, None, last, fresh)


def _read(
    bundle: Bundle, rows: slice, start: int, at: int, steps: int
) -> tuple[dict[str, np.ndarray], np.ndarray | None, bool]:
    """The values of a part; the document before it; whether the round begins with a new one."""
    sources: Any = bundle.sources
    values = {}
    for name, source in sources.items():
        found = source.at(rows, at, steps)
        values[name] = found.reshape(*found.shape[:2], *bundle.tails[name])
    ids = sources.get(IDS)
    if ids is None or not at:
        return values, None, False
    last = ids.at(rows, at - 1, 1)[..., 0]
    if not start:
        return values, last, False
    border = ids.at(rows, start - 1, 2)[..., 0]
    return values, last, bool((border[:, 0] != border[:, 1]).any())
