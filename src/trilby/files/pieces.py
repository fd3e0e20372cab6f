"""Bytes of a csv in pieces of whole rows: as many rows as have arrived."""

import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import FileError
from .sequence import BLOCK_BYTES

LONGEST = 64 << 20
"""Bytes of one row."""


class Piece(NamedTuple):
    """Some rows of a csv.

    Attributes:
        line: the line of the file that it begins with; the first is 1.
        data: whole rows, with their line ends.
    """

    line: int
    data: bytes


class Pieces:
    """A binary stream in pieces of whole rows.

    A line end inside quotes does not end a row. A read returns what has arrived, so a row from a
    pipe is passed on at once. About `BLOCK_BYTES` are held, more only for a longer row.

    >>> import io
    >>> pieces = Pieces("x.csv", io.BytesIO(b'a,b\\n1,"2\\n3"\\n4,5'), b'"', b"")
    >>> pieces.row()
    Piece(line=1, data=b'a,b\\n')
    >>> list(pieces)
    [Piece(line=2, data=b'1,"2\\n3"\\n'), Piece(line=4, data=b'4,5')]
    """

    def __init__(self, name: str, file: Any, quote: bytes, comment: bytes) -> None:
        self.name, self.file, self.quote, self.comment = name, file, quote, comment
        self.line, self.held, self.ended = 1, b"", False

    def row(self) -> Piece | None:
        """The next row that is neither blank nor a comment; None at the end."""
        while True:
            end = self._first(self.held)
            if not end and self.ended:
                end = len(self.held)
            if not end:
                if self.ended:
                    return None
                self._more()
                continue
            piece = self._take(end)
            if self.bare(piece.data).strip(b"\r\n \t\x00"):
                return piece

    def back(self, piece: Piece) -> None:
        """Put back a row that was just taken."""
        self.held, self.line = piece.data + self.held, piece.line

    def __iter__(self) -> Iterator[Piece]:
        while True:
            end = self._last(self.held)
            if end:
                yield self._take(end)
            elif self.ended:
                break
            else:
                self._more()
        if self.held:
            if self._quotes(self.held) % 2:
                raise self.open_quote("at the end of the file")
            yield self._take(len(self.held))

    def bare(self, data: bytes) -> bytes:
        """The rows without comments."""
        if not self.comment or self.comment not in data:
            return data
        lines = data.splitlines(keepends=True)
        return b"".join(line for line in lines if not line.startswith(self.comment))

    def _more(self) -> None:
        """Read what has arrived."""
        if len(self.held) > LONGEST:
            raise self.endless(self._quotes(self.held) % 2)
        try:
            data = self.file.read1(BLOCK_BYTES)
        except (EOFError, zlib.error, OSError) as error:
            raise FileError(
                f"{self.name}: cannot be read after line {self.line} ({error}); write it again"
            ) from error
        self.ended = not data
        self.held += data
        if self.line == 1:
            self.held = self.held.removeprefix(BOM_UTF8)

    def _take(self, end: int) -> Piece:
        piece = Piece(self.line, self.held[:end])
        self.held = self.held[end:]
        self.line += piece.data.count(b"\n") or piece.data.count(b"\r")
        return piece

    def _first(self, data: bytes) -> int:
        """The length of the first row; 0 if it is not whole."""
        end = 0
        while (found := data.find(b"\n", end) + 1) or (found := self._return(data, end)):
            if not self._quotes(data[:found]) % 2:
                return found
            end = found
        return 0

    def _return(self, data: bytes, start: int) -> int:
        """As `_first` for files whose lines end with a carriage return alone."""
        return 0 if b"\n" in data else data.find(b"\r", start, len(data) - 1) + 1

    def _last(self, data: bytes) -> int:
        """The length of all whole rows."""
        end = _line_end(data, len(data))
        quotes = self._quotes(data[:end])
        while end and quotes % 2:  # the last line end is inside quotes
            before = _line_end(data, data.rfind(self.quote, 0, end))
            quotes -= self._quotes(data[before:end])
            end = before
        return end

    def _quotes(self, data: bytes) -> int:
        return self.bare(data).count(self.quote) if self.quote else 0

    def endless(self, quoted: int) -> FileError:
        """The error for a row that is too long, perhaps because a quote is not closed."""
        if quoted:
            return self.open_quote(f"within {LONGEST >> 20} MiB")
        return FileError(
            f"{self.name}: line {self.line}: is longer than {LONGEST >> 20} MiB; check the "
            "type of the file"
        )

    def open_quote(self, where: str) -> FileError:
        """The error for a quote that is not closed."""
        return FileError(
            f"{self.name}: line {self.line}: a quote {self.quote.decode()} that opens here is not "
            f"closed {where}; close it, or pass --quote '' if quotes mean nothing"
        )


def _line_end(data: bytes, stop: int) -> int:
    """The place behind the last line end before `stop`; 0 without one."""
    stop = max(stop, 0)
    found = data.rfind(b"\n", 0, stop) + 1
    if found or b"\n" in data:
        return found
    return data.rfind(b"\r", 0, min(stop, len(data) - 1)) + 1 if data else 0
