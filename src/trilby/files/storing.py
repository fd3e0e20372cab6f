"""Writing sequences as plain numbers: .npy, .npz, .safetensors. The array is called `y`."""

import io
import json
import struct
import tempfile
import zipfile
from contextlib import suppress
from math import prod

import numpy as np

from ..errors import FileError
from .sequence import Layout, Sink
from .staged import Staged
from .stored import SAFETENSORS

NAME = "y"
"""The name of the array in an .npz or a .safetensors."""

_PIECE = 1 << 20  # bytes at a time
_ROOM = 24  # spaces in a .safetensors header for the digits of a T that is unknown


class NpySink(Sink):
    """A .npy in C order. If T is unknown before the end, the header is rewritten at the end."""

    def __init__(self, file: Staged, layout: Layout) -> None:
        self.file, self.layout = file, layout
        self.file.write(_npy_header(file.path, layout, layout.T or 0))

    def append(self, values: np.ndarray) -> None:
        self.file.write(_flat(values))

    def finish(self, steps: int) -> None:
        self.file.seek(0)
        self.file.write(_npy_header(self.file.path, self.layout, steps))


class NpzSink(Sink):
    """An uncompressed .npz; its numbers are kept in an unnamed temporary file until the end."""

    def __init__(self, file: Staged, layout: Layout) -> None:
        _npy_header(file.path, layout, 0)  # raises now if numpy cannot write it
        self.file, self.layout = file, layout
        self.waiting = tempfile.TemporaryFile(dir=file.folder)  # noqa: SIM115  # till abort

    def append(self, values: np.ndarray) -> None:
        try:
            self.waiting.write(_flat(values))
        except OSError as error:
            raise self.file.stopped(error) from error

    def finish(self, steps: int) -> None:
        try:
            self.waiting.seek(0)  # flushes the buffer
        except OSError as error:
            raise self.file.stopped(error) from error
        with (
            zipfile.ZipFile(self.file, "w") as archive,  # type: ignore[call-overload]
            archive.open(f"{NAME}.npy", "w", force_zip64=True) as member,
        ):
            member.write(_npy_header(self.file.path, self.layout, steps))
            while piece := self.waiting.read(_PIECE):
                member.write(piece)

    def abort(self) -> None:
        with suppress(OSError):  # closing flushes, and the disk may be full
            self.waiting.close()


class SafetensorsSink(Sink):
    """A .safetensors. If T is unknown before the end, the header is rewritten at the end."""

    def __init__(self, file: Staged, layout: Layout) -> None:
        self.file, self.layout = file, layout
        self.length = len(_safetensors_header(layout, layout.T or 0)) + _ROOM
        self.length += -self.length % 8
        self._header(layout.T or 0)

    def append(self, values: np.ndarray) -> None:
        self.file.write(_flat(values))

    def finish(self, steps: int) -> None:
        self.file.seek(0)
        self._header(steps)

    def _header(self, steps: int) -> None:
        header = _safetensors_header(self.layout, steps).ljust(self.length)
        self.file.write(struct.pack("<Q", self.length) + header)


def _shape(layout: Layout, steps: int) -> tuple[int, ...]:
    return tuple(steps if n is None else n for n in layout.shape)


def _npy_header(path: str, layout: Layout, steps: int) -> bytes:
    if layout.dtype == "bfloat16":
        raise FileError(f"{path}: numpy has no bfloat16; write a .safetensors or a .csv")
    said = {"descr": layout.bits.str, "fortran_order": False, "shape": _shape(layout, steps)}
    header = (
        io.BytesIO()
    )  # numpy reserves space for the longest first axis, so the length is the same
    np.lib.format.write_array_header_1_0(header, said)
    return header.getvalue()


def _safetensors_header(layout: Layout, steps: int) -> bytes:
    shape = _shape(layout, steps)
    dtype = next(short for short, name in SAFETENSORS.items() if name == layout.dtype)
    entry = dict(dtype=dtype, shape=shape, data_offsets=(0, prod(shape) * layout.bits.itemsize))
    return json.dumps({NAME: entry}).encode()


def _flat(values: np.ndarray) -> memoryview:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
