"""Sequences as tables: a csv with one line per position and one column per channel.

pyarrow reads the cells and writes them. What is here cuts the bytes into whole rows as they arrive,
so that a pipe is answered row by row and one block is in memory at a time.
"""

import gzip
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from ..errors import FileError
from .cells import Cells
from .choosing import choose_columns
from .counting import Counting
from .dialect import SEPARATORS, Dialect, guess, letter
from .opening import open_regular
from .pieces import Piece, Pieces
from .sequence import Block, Layout, Source


class Table(Source):
    """A csv as `[T, C]` float64; T is known only at the end.

    Args:
        name: the path, for errors.
        file: what is read, decompressed.
        raw: the file itself, whose place is the progress.
        size: bytes of the file; None for standard input.
        dialect: how it is written; a `sep` of "" is guessed from the first row.
        skip_missing: whether cells without a value are nan, or an error.
        choice: the options of `choose_columns`.
    """

    def __init__(
        self,
        name: str,
        file: Any,
        raw: BinaryIO,
        size: int | None,
        dialect: Dialect,
        skip_missing: bool,
        **choice: Any,
    ) -> None:
        self.name, self.file, self.raw, self.size = name, file, raw, size
        quote, comment = dialect.quote.encode(), dialect.comment.encode()
        self.pieces = Pieces(name, file, quote, comment)
        dialect, header = self._begun(dialect)
        unnamed = [i for i, column in enumerate(header) if not column]
        chosen = choose_columns(name, header, unnamed, **choice)
        self.noted += chosen.noted
        self.cells = Cells(name, header, dialect, chosen, skip_missing)
        self.skip_missing = skip_missing
        columns = tuple(header[i] for i in chosen.mixed)
        kept = tuple(header[i] for i in chosen.kept)
        self.counting = Counting(() if chosen.named else columns)
        self.layout = Layout((None, len(columns)), "float64", columns, kept)

    def blocks(self, steps: int | None = None) -> Iterator[Block]:
        steps, none = steps or self.layout.steps(), True
        for piece in self.pieces:
            data = self.pieces.bare(piece.data)
            if data[:1] in (b"", b"\r", b"\n") and not data.strip(b"\r\n"):
                continue
            values, kept = self.cells.read(piece, data)
            self.counting.see(values)
            if self.size is not None:
                self.done = self.raw.tell()
            for t in range(0, len(values), steps):
                part = slice(t, t + steps)
                yield self._block(values[part], kept[part])
                none = False
        if none:
            yield self._block(np.empty((0, self.layout.C)), None)
        self.noted += self.counting.noted()

    def close(self) -> None:
        if self.size is not None:  # never close standard input
            self.file.close()
            self.raw.close()

    def _block(self, values: np.ndarray, kept: Any) -> Block:
        if self.skip_missing:
            self.skipped += int(np.isnan(values).sum())
        return Block(slice(0, 1), values[None], kept if self.layout.kept else None)

    def _begun(self, dialect: Dialect) -> tuple[Dialect, list[str]]:
        """The dialect with its separator, and the names of the columns."""
        first = self.pieces.row()
        text = self._text(first) if first else ""
        if not dialect.sep:
            found = guess(text, dialect.quote)
            if found not in (None, ","):
                self.noted += (f"cells are separated by {SEPARATORS[found]}",)
            none = ";" if "," in (dialect.decimal, dialect.thousands) else ","  # of one column
            dialect = dialect._replace(sep=found or none)
        dialect.checked(self.name)
        if first is None:
            wanted = "a header line that names the columns" if dialect.header else "numbers"
            raise FileError(f"{self.name}: is empty, expected {wanted}")
        header = dialect.cells(text)
        if not dialect.header:
            self.pieces.back(first)
            return dialect, [f"c{i}" for i in range(len(header))]
        if all(dialect.number.match(cell) for cell in header):
            raise FileError(
                f"{self.name}: line {first.line} holds numbers ({', '.join(header[:3])}), expected "
                "a header that names the columns; add one, or pass --no-header"
            )
        return dialect, header

    def _text(self, first: Piece) -> str:
        data = first.data
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise FileError(f"{self.name}: is UTF-16 text, expected UTF-8; save it as UTF-8")
        if data.startswith(b"\x1f\x8b"):
            raise FileError(f"{self.name}: is compressed by gzip; name it .csv.gz")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise FileError(
                f"{self.name}: line {first.line}: is not UTF-8 text ({error.reason}); check the "
                "type"
            ) from error


def open_table(
    path: str,
    *,
    sep: str | None = None,
    quote: str = '"',
    decimal: str = ".",
    thousands: str = "",
    comment: str = "",
    no_header: bool = False,
    skip_missing: bool = False,
    **choice: Any,
) -> Table:
    """Open a csv, compressed if it ends in .gz, or standard input if `path` is `-`.

    Args:
        path: of the file. A .tsv has tabs, any other a separator that is guessed.
        sep, quote, decimal, thousands, comment, no_header: as for `Dialect`.
        skip_missing: read cells without a value as nan; without it they are an error.
        choice: the options of `choose_columns`.
    """
    tabs = path.lower().endswith((".tsv", ".tsv.gz"))
    between = letter(sep) if sep is not None else "\t" if tabs else ""
    dialect = Dialect(between, quote, decimal, thousands, comment, not no_header)
    if sep is not None:
        dialect.checked(path)
    if path == "-":
        stream = sys.stdin.buffer
        return Table("standard input", stream, stream, None, dialect, skip_missing, **choice)
    raw, size = open_regular(path)
    try:
        packed = path.lower().endswith(".gz")
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        return Table(path, file, raw, size, dialect, skip_missing, **choice)
    except BaseException:
        raw.close()
        raise
