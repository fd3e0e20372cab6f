"""Sequences as tables: csv with a header line, one line per position, one column per channel."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..errors import FileError
from .opening import open_regular
from .sequence import Block, Layout, Sink, Source

MISSING = frozenset({"", "na", "n/a", "null", "none"})
"""Cells without a value, in any case. `nan` and `inf` are numbers."""


class Table(Source):
    """A csv as `[T, C]` float64; T is known only at the end."""

    def __init__(
        self,
        name: str,
        file: BinaryIO,
        size: int | None,
        columns: Sequence[str] = (),
        skip_missing: bool = False,
    ) -> None:
        self.name, self.file, self.size, self.skip_missing = name, file, size, skip_missing
        self.text = io.TextIOWrapper(file, "utf-8-sig", newline="")
        self.reader = csv.reader(self._lines(), strict=True)
        self.header = self._header()
        self.taken = self._taken(columns)
        chosen = tuple(self.header[i] for i in self.taken)
        self.layout = Layout((None, len(chosen)), "float64", chosen)

    def blocks(self, steps: int | None = None) -> Iterator[Block]:
        steps = steps or self.layout.steps()
        held: list[list[float]] = []
        first = True
        for row in self._rows():
            held.append(row)
            if len(held) == steps:
                yield self._block(held)
                held, first = [], False
        if held or first:
            yield self._block(held)

    def close(self) -> None:
        self.text.detach()
        if self.size is not None:  # never close standard input
            self.file.close()

    def _lines(self) -> Iterator[str]:
        for line in self.text:
            self.done += len(line)  # characters, close enough to bytes for a progress bar
            yield line

    def _next(self) -> list[str] | None:
        """The next row of cells; None at the end."""
        try:
            return next(self.reader, None)
        except csv.Error as error:
            raise self._at(f"is not csv ({error}); check the type") from error
        except UnicodeDecodeError as error:
            raise self._at(f"is not UTF-8 text ({error.reason}); check the type") from error

    def _header(self) -> list[str]:
        header = self._next()
        if not header:
            raise FileError(f"{self.name}: is empty, expected a header line that names the columns")
        if all(_is_number(cell) for cell in header):
            raise FileError(
                f"{self.name}: line 1 holds numbers ({', '.join(header[:3])}), expected a header "
                "that names the columns; add one"
            )
        return [cell.strip() for cell in header]

    def _taken(self, columns: Sequence[str]) -> list[int]:
        listed = ", ".join(self.header)
        for column in columns:
            found = self.header.count(column)
            if found != 1:
                many = f"{found} columns" if found else "no column"
                raise FileError(f"{self.name}: has {many} {column!r}; its header is {listed}")
        return [self.header.index(c) for c in columns] or list(range(len(self.header)))

    def _rows(self) -> Iterator[list[float]]:
        while (row := self._next()) is not None:
            if row and len(row) != len(self.header):
                raise self._at(
                    f"has {len(row)} cells, the header names {len(self.header)}; mend the line"
                )
            cells = [row[i] for i in self.taken] if row else [""] * len(self.taken)
            try:
                values = [float(cell) for cell in cells]
            except ValueError:
                self._explain(cells)
                self.skipped += 1
                continue
            if "_" in "".join(cells):  # float() reads 1_0 as ten, which no csv means
                self._explain(cells)
            yield values

    def _explain(self, cells: list[str]) -> None:
        """Return if the row may be skipped; otherwise raise an error that says why."""
        missing = [cell.strip().lower() in MISSING for cell in cells]
        for i, cell, gone in zip(self.taken, cells, missing, strict=True):
            if not gone and not _is_number(cell):
                raise self._at(
                    f"column {self.header[i]}: {cell[:40]!r} is not a number; mend it, or choose "
                    "other columns with --column"
                )
            if gone and not self.skip_missing:
                raise self._at(
                    f"column {self.header[i]}: the value is missing; fill it in, or leave such "
                    "lines out with --skip-missing"
                )

    def _block(self, held: list[list[float]]) -> Block:
        values = np.array(held, dtype=np.float64).reshape(1, len(held), self.layout.C)
        return Block(slice(0, 1), values)

    def _at(self, trouble: str) -> FileError:
        return FileError(f"{self.name}: line {self.reader.line_num}: {trouble}")


class TableSink(Sink):
    """A csv with the shortest decimals that read back as the same number of the dtype."""

    def __init__(self, file: Any, layout: Layout) -> None:
        self.layout = layout
        self.text = io.StringIO(newline="")
        self.file, self.writer = file, csv.writer(self.text, lineterminator="\n")
        self.writer.writerow(layout.columns or [f"c{i}" for i in range(layout.C)])

    def append(self, values: np.ndarray) -> None:
        rows = values[0]
        if self.layout.dtype == "bfloat16":  # the upper half of a float32
            rows = (rows.astype(np.uint32) << 16).view(np.float32)
        if rows.dtype == np.float64:
            self.writer.writerows(rows.tolist())  # csv writes repr, the shortest that reads back
        else:
            self.writer.writerows(rows.astype(str).tolist())
        self._pass_on()

    def finish(self, steps: int) -> None:  # noqa: ARG002  # a csv does not say its length
        self._pass_on()

    def _pass_on(self) -> None:
        self.file.write(self.text.getvalue().encode())
        self.file.flush()
        self.text.seek(0)
        self.text.truncate()


def open_table(path: str, columns: Sequence[str] = (), skip_missing: bool = False) -> Table:
    """Open a csv file: all columns, or the given ones in their order."""
    file, size = open_regular(path)
    try:
        return Table(path, file, size, columns, skip_missing)
    except BaseException:
        file.close()
        raise


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
