"""The cells of a piece of csv as numbers and text, read by pyarrow; and what is wrong with one."""

import csv
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow

from ..errors import FileError
from .choosing import Chosen, typed
from .dialect import MISSING, Dialect
from .pieces import Piece


class Cells:
    """Reads pieces of one csv.

    Args:
        name: the path, for errors.
        header: the names of all columns.
        dialect: how the csv is written.
        chosen: which columns are read.
        skip_missing: a cell without a value becomes nan; otherwise it is an error.
    """

    def __init__(
        self, name: str, header: list[str], dialect: Dialect, chosen: Chosen, skip_missing: bool
    ) -> None:
        self.name, self.header, self.dialect, self.chosen = name, header, dialect, chosen
        self.skip_missing = skip_missing
        self.mixed = [str(i) for i in chosen.mixed]  # places, as names may repeat
        self.kept = [str(i) for i in chosen.kept]
        self.parsing = arrow.ParseOptions(
            delimiter=dialect.sep, quote_char=dialect.quote or False, newlines_in_values=True
        )
        self.typed, self.text = self._columns(pa.float64()), self._columns(pa.string())

    def read(self, piece: Piece, data: bytes) -> tuple[np.ndarray, Any]:
        """`[rows, C]` float64 with nan for missing values, and a pyarrow.Table of kept columns.

        Args:
            piece: the rows, for errors.
            data: its bytes without comments.
        """
        try:
            table = None if self.dialect.thousands else self._parsed(data, self.typed)
        except pa.ArrowInvalid:  # perhaps spaces around NA
            table = None
        try:
            table = self._from_text(data) if table is None else table
        except pa.ArrowInvalid as error:
            raise self._explained(piece, " ".join(str(error).split())) from error
        missing = sum(table[column].null_count for column in self.mixed)
        if missing and not self.skip_missing:
            raise self._explained(piece, "a value is missing")
        columns = [numbers(table[column]) for column in self.mixed]
        kept = table.select(self.kept).rename_columns([self.header[i] for i in self.chosen.kept])
        return np.stack(columns, 1) if columns else np.empty((len(table), 0)), kept

    def _columns(self, numbers: pa.DataType) -> arrow.ConvertOptions:
        types = dict.fromkeys(self.kept, pa.string()) | dict.fromkeys(self.mixed, numbers)
        return arrow.ConvertOptions(
            column_types=types,
            include_columns=[*self.kept, *self.mixed],
            null_values=list(MISSING),
            decimal_point=self.dialect.decimal,
            strings_can_be_null=False,
        )

    def _parsed(self, data: bytes, converting: arrow.ConvertOptions) -> pa.Table:
        reading = arrow.ReadOptions(
            column_names=[str(i) for i in range(len(self.header))], block_size=len(data) + 1
        )
        return arrow.read_csv(pa.BufferReader(data), reading, self.parsing, converting)

    def _from_text(self, data: bytes) -> pa.Table:
        """As text first: slower, for spaces around NA and for thousands."""
        import pyarrow.compute as pc  # 30 ms that most tables do not need

        table = self._parsed(data, self.text)
        for place in self.mixed:
            cells = pc.utf8_trim_whitespace(table[place])
            missing = pc.is_in(cells, pa.array(MISSING))
            good = pc.or_(missing, pc.match_substring_regex(cells, self.dialect.pattern))
            if not pc.all(good).as_py():
                raise pa.ArrowInvalid("a cell is not a number")
            if self.dialect.thousands:
                cells = pc.replace_substring(cells, self.dialect.thousands, "")
            cells = pc.replace_substring(cells, self.dialect.decimal, ".")
            cells = pc.if_else(missing, pa.scalar(None, pa.string()), cells)
            i = table.schema.get_field_index(place)
            table = table.set_column(i, place, cells.cast(pa.float64()))
        return table

    def _explained(self, piece: Piece, trouble: str) -> FileError:
        """The error for the first cell of a piece that is wrong."""
        try:
            text = piece.data.decode()
        except UnicodeDecodeError as error:
            line = piece.line + piece.data.count(b"\n", 0, error.start)
            return FileError(
                f"{self.name}: line {line}: is not UTF-8 text ({error.reason}); save it as UTF-8"
            )
        comment = self.dialect.comment
        lines = text.splitlines(keepends=True)
        plain = ["\n" if comment and line.startswith(comment) else line for line in lines]
        reader = csv.reader(plain, **self.dialect.reading)
        line = piece.line
        try:
            for cells in reader:
                if cells and (said := self._wrong(cells)):
                    return FileError(f"{self.name}: line {line}: {said}")
                line = piece.line + reader.line_num
        except csv.Error as error:
            trouble = str(error)
        return FileError(f"{self.name}: line {line}: is not csv ({trouble}); check the type")

    def _wrong(self, cells: list[str]) -> str | None:
        """What is wrong with a row, in words."""
        if len(cells) != len(self.header):
            named = "the header names" if self.dialect.header else "the first line has"
            return f"has {len(cells)} cells, {named} {len(self.header)}; mend the line"
        for i in self.chosen.mixed:
            cell, name = cells[i].strip(), self.header[i]
            if cell in MISSING:
                if not self.skip_missing:
                    return (
                        f"column {name}: the value is missing; fill it in, or leave such cells "
                        "out with --skip-missing"
                    )
            elif not self.dialect.number.match(cell):
                return f"column {name}: {cell[:40]!r} is not a number; {self._advice(cell, name)}"
        return None

    def _advice(self, cell: str, name: str) -> str:
        """What to do about a cell that is not a number."""
        for option, char, other in (
            ("--decimal ,", ",", self.dialect._replace(decimal=",", thousands="")),
            ("--thousands ,", ",", self.dialect._replace(thousands=",")),
        ):
            if char not in (self.dialect.decimal, self.dialect.thousands) and other.number.match(
                cell
            ):
                return f"pass {option} if that is how numbers are written, or mend it"
        if (
            len(self.header) == 1
            and " " in cell
            and all(map(self.dialect.number.match, cell.split()))
        ):
            return "pass --sep ' ' if spaces separate the cells, or mend it"
        column = typed(name)
        return (
            f"mend it, or keep the column with --keep {column}, or leave it out with "
            f"--all-but {column}"
        )


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """[T] float64 of a column of float64, nan where a value is missing.

    `to_numpy` would import pandas where that is installed, which takes half a second.
    """
    if not len(column):
        return np.empty(0)
    whole = column.combine_chunks()
    part = slice(whole.offset, whole.offset + len(whole))
    bits, data = whole.buffers()
    values = np.frombuffer(data, np.float64, part.stop)[part]
    if not whole.null_count:
        return values
    there = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[part]
    return np.where(there, values, np.nan)


def column_of(values: np.ndarray) -> pa.Array:
    """The inverse of `numbers`, for floats of any width; not `pyarrow.array`, for that reason."""
    kind = {2: pa.float16(), 4: pa.float32(), 8: pa.float64()}[values.itemsize]
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, data])
