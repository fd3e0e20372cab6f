"""A csv that several processes read: each one the rows that begin in its stretch of bytes.

Whether a line end lies inside quotes depends on all quotes before it. So the processes first tell
each other how many they have.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import FileError
from .pieces import LONGEST, Piece
from .sequence import BLOCK_BYTES, Source
from .share import Share
from .table import Table

_MORE = 1 << 16  # bytes that are read at a time behind a stretch, for the end of its last row


def rounds(table: Source, share: Share) -> Iterator[tuple[list[int], np.ndarray, Any]]:
    """How many rows each process has, and the `[rows, C]` and the kept columns of this one."""
    assert isinstance(table, Table)
    begin, _ = share.agreed(lambda: (_beginning(table), []))
    line, quotes, at, size = table.pieces.line, 0, begin, table.size or 0
    left = max(0, size - begin)
    each = max(1, min(BLOCK_BYTES, -(-left // share.size)))
    while True:
        low, high = (min(at + each * r, size) for r in (share.rank, share.rank + 1))

        def survey(low: int = low, high: int = high) -> tuple[Stretch, list[int]]:
            stretch = Stretch(table, begin, low, high)
            return stretch, [stretch.quotes, stretch.data[stretch.lead :].count(b"\n")]

        stretch, told = share.agreed(survey)
        odd = (quotes + sum(n for n, _ in told[: share.rank])) % 2
        first = line + sum(n for _, n in told[: share.rank])

        def read(
            stretch: Stretch = stretch, odd: int = odd, first: int = first
        ) -> tuple[tuple[np.ndarray, Any], list[int]]:
            found = stretch.read(odd, first)
            return found, [len(found[0])]

        (values, kept), counts = share.agreed(read)
        quotes, line = quotes + sum(n for n, _ in told), line + sum(n for _, n in told)
        at = min(at + each * share.size, size)
        table.done = at
        yield [n for (n,) in counts], values, kept
        if at >= size:
            break
    _, told = share.agreed(lambda: (None, table.counting.told()))
    table.noted += table.counting.of_all(told).noted()


def _beginning(table: Table) -> int:
    """The first byte behind the header."""
    held = table.pieces.held
    if b"\r" in held and b"\n" not in held:
        raise FileError(
            f"{table.name}: its lines end with a carriage return alone, where several processes "
            "find no line; save it with line feeds, or run one process"
        )
    return table.raw.tell() - len(held)


class Stretch:
    """The bytes from `low` to `high` of a table, and the rows that begin there.

    Args:
        table: which is read.
        begin: where its rows begin, behind the header.
        low, high: bytes of the file.

    Attributes:
        data: the bytes; the one before them comes first, if there is one behind the header.
        lead: how many bytes that is, 0 or 1.
        quotes: how many quotation marks the bytes hold, without the one before.

    Raises:
        FileError: quotes in a table with comments, of which a stretch cannot tell what they are.
    """

    def __init__(self, table: Table, begin: int, low: int, high: int) -> None:
        self.table, self.low, self.high = table, low, high
        self.last = high == table.size
        self.mark = table.pieces.quote
        self.lead = int(begin < low)
        table.raw.seek(low - self.lead)
        self.data = table.raw.read(high - low + self.lead)
        self.quotes = self._count(self.data[self.lead :])

    def read(self, odd: int, line: int) -> tuple[np.ndarray, Any]:
        """`[rows, C]` of the rows that begin here, and the columns that are kept.

        Args:
            odd: 1 if the first byte lies inside quotes.
            line: the line that it belongs to; the first of the file is 1.
        """
        start = 0
        if self.lead and (odd or self.data[:1] != b"\n"):
            start = self._end(self.data, 1, odd) or len(self.data)
        elif self.lead:
            start = 1
        if start >= len(self.data):
            return self._cells(Piece(line, b""))
        line += self.data.count(b"\n", self.lead, start)
        return self._cells(Piece(line, self._whole(self.data[start:], line)))

    def _whole(self, rows: bytes, line: int) -> bytes:
        """The rows to the end of the last one, which may lie behind the stretch."""
        table, stop = self.table, None
        inside = self._count(rows) % 2  # they begin outside of quotes
        if not self.last:
            stop = len(rows) if rows.endswith(b"\n") and not inside else None
            table.raw.seek(self.high)
        table.pieces.line = line
        while stop is None and (more := table.raw.read(_MORE) if not self.last else b""):
            found = self._end(more, 0, inside)
            stop = None if found is None else len(rows) + found
            inside = (inside + self._count(more)) % 2
            rows += more
            if len(rows) > LONGEST + self.high - self.low:
                raise table.pieces.endless(inside)
        if stop is None and inside:
            raise table.pieces.open_quote("at the end of the file")
        return rows[:stop]

    def _cells(self, piece: Piece) -> tuple[np.ndarray, Any]:
        table = self.table
        data = table.pieces.bare(piece.data)
        if not data.strip(b"\r\n"):
            return np.empty((0, table.layout.C)), None
        values, kept = table.cells.read(piece, data)
        table.counting.see(values)
        return values, kept if table.layout.kept else None

    def _count(self, data: bytes) -> int:
        found = data.count(self.mark) if self.mark else 0
        if found and self.table.pieces.comment:
            raise FileError(
                f"{self.table.name}: holds quotes, and several processes cannot tell those of "
                "comments from those of cells; pass --quote '' if they mean nothing, or run one "
                "process"
            )
        return found

    def _end(self, data: bytes, start: int, odd: int) -> int | None:
        """The place behind the first line end from `start` on that is outside of quotes.

        Args:
            odd: 1 if the byte at `start` lies inside quotes.
        """
        end = start
        while found := data.find(b"\n", end) + 1:
            odd = (odd + (data.count(self.mark, end, found) if self.mark else 0)) % 2
            if not odd:
                return found
            end = found
        return None
