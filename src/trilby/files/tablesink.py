"""Writing sequences as csv, with pyarrow."""

import csv
import gzip
import io
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow

from .cells import column_of
from .sequence import Layout, Sink
from .staged import Staged

_POINT_ZERO = np.frombuffer(b".0", np.uint8)


class TableSink(Sink):
    """A csv with the shortest decimals that read back as the same number of the dtype."""

    def __init__(
        self, file: Staged | BinaryIO, layout: Layout, sep: str = ",", packed: bool = False
    ) -> None:
        self.layout, self.sep = layout, sep
        self.below = file
        self.file: Any = gzip.GzipFile("", "wb", 6, file, 0) if packed else file
        self.kept: Any = None
        head = io.StringIO(newline="")
        names = (*layout.kept, *(layout.columns or [f"c{i}" for i in range(layout.C)]))
        csv.writer(head, delimiter=sep, lineterminator="\n").writerow(names)
        self.file.write(head.getvalue().encode())

    def keep(self, kept: Any) -> None:
        self.kept = kept

    def append(self, values: np.ndarray) -> None:
        rows = values[0]
        if self.layout.dtype == "bfloat16":  # the upper half of a float32
            rows = (rows.astype(np.uint32) << 16).view(np.float32)
        columns = [] if self.kept is None else [_plain(c) for c in self.kept.columns]
        columns += [_decimals(rows[:, c]) for c in range(rows.shape[1])]
        self.kept = None
        if columns and len(rows):
            names = [str(i) for i in range(len(columns))]
            self.file.write(self._written(pa.table(columns, names)))
        elif not columns:
            self.file.write(b"\n" * len(rows))
        self.file.flush()

    def finish(self, steps: int) -> None:  # noqa: ARG002  # a csv does not say its length
        if self.file is not self.below:
            self.file.close()
        self.below.flush()

    def _written(self, table: pa.Table) -> bytes:
        """Cells are quoted only in a block where one needs it."""
        try:
            return _csv(table, self.sep)
        except pa.ArrowInvalid:
            return _csv(table, self.sep, "needed")


def _decimals(values: np.ndarray) -> pa.Array:
    """[T] as pyarrow writes it, but 2.0 for its 2, so that a reader sees a float.

    In numpy, as `pyarrow.compute` takes 0.1 s to import.
    """
    if values.dtype == np.float16:  # pyarrow would write all digits of a float32
        return pa.array(values.astype(str))
    cells = column_of(values)
    if not (values == np.floor(values)).any():
        return cells
    text = np.frombuffer(_csv(pa.table([cells], ["0"])), np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.append(0, ends[:-1] + 1)
    whole = ~np.logical_or.reduceat((text == ord(".")) | (text > ord("9")), starts)
    longer = np.insert(text, np.repeat(ends[whole], 2), np.tile(_POINT_ZERO, whole.sum()))
    offsets = np.append(0, np.cumsum(ends - starts + 2 * whole)).astype(np.int32)
    parts = [None, pa.py_buffer(offsets), pa.py_buffer(longer[longer != ord("\n")])]
    return pa.Array.from_buffers(pa.string(), len(values), parts)


def _csv(table: pa.Table, sep: str = ",", quoted: str = "none") -> bytes:
    out = io.BytesIO()
    how = arrow.WriteOptions(include_header=False, delimiter=sep, quoting_style=quoted)
    arrow.write_csv(table, out, how)
    return out.getvalue()


def _plain(column: Any) -> Any:
    """A kept column of any type as text."""
    return column if pa.types.is_string(column.type) else column.cast(pa.string())
