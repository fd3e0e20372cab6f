"""A file that several processes write, each at its own places; it appears whole or not at all.

The processes need one file system: the first makes the temporary file, and the others open it.
"""

import io
import os
import secrets
from contextlib import suppress
from typing import Any

import numpy as np

from ..errors import FileError
from .doors import holds_text, open_sink
from .sequence import Layout
from .share import Part, Share
from .staged import Staged


class Joined(Staged):
    """The temporary file of another process. If this one fails, it removes the file as well.

    So nothing is left where the process that made it was killed.
    """

    def __exit__(self, kind: object = None, *_: object) -> None:
        with suppress(OSError):
            self.file.close()
        if kind is not None:
            self._remove()

    def _open(self, mode: int | None) -> Any:  # noqa: ARG002  # that of the first process
        try:
            return open(self.temporary, "r+b")  # closed by `__exit__`
        except OSError as error:
            raise FileError(
                f"{self.path}: the file that the first process made is not there "
                f"({error.strerror}); all processes need the same folder, on one file system"
            ) from error


def join(path: str, share: Share) -> Staged:
    """The file at `path`, made by the first process and opened by the others."""
    own = int(secrets.token_hex(4), 16)
    _, told = share.agreed(lambda: (None, [own]))  # before it exists: then all can remove it
    token = f"{told[0][0]:08x}"

    def made() -> tuple[Staged | None, list[int]]:
        return (None if share.rank else Staged(path, token)), []

    def opened() -> tuple[Staged, list[int]]:
        return first or Joined(path, token), []

    try:
        first, _ = share.agreed(made)
        found, _ = share.agreed(opened)
    except BaseException:
        _gone(path, token)
        raise
    return found


def _gone(path: str, token: str) -> None:
    folder, name = os.path.split(os.path.realpath(path))
    with suppress(OSError):
        os.unlink(os.path.join(folder, f".{name[:50]}.trilby-{token}.tmp"))


class Memory(io.BytesIO):
    """What a sink has written, until it is taken."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def taken(self) -> bytes:
        """All bytes since the last time."""
        found = self.getvalue()
        self.seek(0)
        self.truncate()
        return found


class JointSink:
    """Writes the parts of one process where they belong in the file.

    Args:
        path: whose ending is the format.
        file: of `join`.
        layout: of the result.
        share: which process this one is.
    """

    def __init__(self, path: str, file: Staged, layout: Layout, share: Share) -> None:
        self.file, self.layout, self.share = file, layout, share
        self.text = holds_text(path)
        self.fault: FileError | None = None
        self.memory = Memory(path)
        self.sink = open_sink(path, self.memory, layout)
        head = self.memory.taken()
        self.head = self.end = len(head)
        if not share.rank:
            self._put(0, head)

    def append(self, part: Part, values: np.ndarray) -> None:
        """Write `[rows, steps, ...]` of a part."""
        if self.text:
            data, told = self.share.agreed(lambda: self._encoded(part, values))
            sizes = [n for (n,) in told]
            self._tried(self.end + sum(sizes[: self.share.rank]), data)
            self.end += sum(sizes)
            return
        width, T = self.layout.step_bytes, self.layout.T or 0
        for b, row in enumerate(values):
            self.sink.append(row[None])
            place = (part.rows.start + b) * T + part.at
            self._tried(self.head + place * width, self.memory.taken())

    def finish(self, steps: int) -> None:
        """Flush what this process wrote, and when all have, write what is known only now."""
        self.share.agreed(self._flushed)
        if not self.share.rank:
            self.sink.finish(steps)
            if not self.text:
                self._put(0, self.memory.taken())

    def _encoded(self, part: Part, values: np.ndarray) -> tuple[bytes, list[int]]:
        if part.kept is not None:
            self.sink.keep(part.kept)
        if len(values[0]):
            self.sink.append(values)
        data = self.memory.taken()
        return data, [len(data)]

    def _tried(self, place: int, data: bytes) -> None:
        """As `_put`; what fails is told when the processes agree the next time."""
        try:
            if data:
                self._put(place, data)
        except FileError as error:
            self.fault = self.fault or error

    def _put(self, place: int, data: bytes) -> None:
        self.file.seek(place)
        self.file.write(data)

    def _flushed(self) -> tuple[None, list[int]]:
        if self.fault:
            raise self.fault
        self.file.flush()
        try:
            os.fsync(self.file.file.fileno())
        except OSError as error:
            raise self.file.stopped(error) from error
        return None, []
