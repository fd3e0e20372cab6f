"""Sequences that are stored as plain numbers: .npy, a member of an .npz, .safetensors."""

import json
import lzma
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from typing import IO, BinaryIO, NamedTuple

import numpy as np

from ..errors import FileError
from .opening import open_regular
from .sequence import Block, Layout, Source, sequence

SAFETENSORS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""The dtypes of a sequence as safetensors writes them."""

_IDS = {"I64": "int64", "I32": "int32"}

_BROKEN = (zlib.error, lzma.LZMAError, EOFError, RuntimeError)  # besides BadZipFile
_MOST_HEADER = 100_000_000  # bytes; safetensors itself refuses longer ones


class Stored(Source):
    """Contiguous numbers from `start` on, in C order or, for [T, C], in Fortran order."""

    def __init__(
        self,
        name: str,
        file: IO[bytes],
        start: int,
        layout: Layout,
        stored: np.dtype,
        fortran: bool,
    ) -> None:
        self.name, self.file, self.start, self.layout = name, file, start, layout
        self.stored, self.fortran = stored, fortran
        self.size = prod(n or 0 for n in layout.shape) * stored.itemsize
        if stored.kind in "iu" and layout.dtype == "float64":
            self.noted = (f"{stored.name} was read as float64",)

    def blocks(self, steps: int | None = None) -> Iterator[Block]:
        B, T, C = self.layout.B, self.layout.T or 0, self.layout.C
        steps = steps or self.layout.steps()
        self.file.seek(self.start)
        if self.fortran:
            for t in range(0, max(T, 1), steps):
                yield Block(slice(0, 1), self._columns(t, min(steps, T - t)))
        elif steps >= T or not B:  # whole rows
            rows = max(1, steps // max(T, 1))
            for b in range(0, max(B, 1), rows):
                part = slice(b, min(b + rows, B))
                yield Block(part, self._next(part.stop - b, T, C))
        else:  # one row after the other, each in stretches
            for b in range(B):
                for t in range(0, T, steps):
                    yield Block(slice(b, b + 1), self._next(1, min(steps, T - t), C))

    def at(self, rows: slice, start: int, steps: int) -> np.ndarray:
        """`[rows, steps, C]`, the positions from `start` on; the file must allow to seek."""
        B, T, C = rows.stop - rows.start, self.layout.T or 0, self.layout.C
        if self.fortran:
            return self._columns(start, steps)
        found = np.empty((B, steps, C), self.layout.bits)
        for b in range(B if steps else 0):
            place = ((rows.start + b) * T + start) * C
            self.file.seek(self.start + place * self.stored.itemsize)
            found[b] = self._next(steps, C)
        return found

    def close(self) -> None:
        self.file.close()

    def _next(self, *shape: int) -> np.ndarray:
        """The next numbers of the file, in native byte order."""
        values = np.empty(shape, self.stored)
        buffer, filled = values.reshape(-1).view(np.uint8).data, 0
        with unbroken(self.name):
            while filled < values.nbytes:
                got = self.file.readinto(buffer[filled:])  # type: ignore[attr-defined]
                if not got:
                    missing = values.nbytes - filled
                    raise FileError(f"{self.name}: ends {missing} bytes early; write it again")
                filled += got
        self.done += filled
        return values.astype(self.layout.bits, copy=False)

    def _columns(self, t: int, steps: int) -> np.ndarray:
        """[1, steps, C] from a file in Fortran order: one short read per channel."""
        T, C = self.layout.T or 0, self.layout.C
        values = np.empty((1, steps, C), self.layout.bits)
        for c in range(C):
            self.file.seek(self.start + (c * T + t) * self.stored.itemsize)
            values[0, :, c] = self._next(steps)
        return values


class Header(NamedTuple):
    """The header of a .npy file."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int  # bytes before the first number


class Entry(NamedTuple):
    """The entry of one tensor in the header of a .safetensors file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int  # bytes, counted from the end of the header
    end: int


def open_npy(path: str) -> Stored:
    """Open a .npy file in C order, or for [T, C] in Fortran order, of either byte order."""
    file, size = open_regular(path)
    try:
        return _stored(path, file, size)
    except BaseException:
        file.close()
        raise


def open_npz(path: str, member: str | None = None) -> Stored:
    """Open one array of an .npz, compressed or not; it is read as a stream."""
    open_regular(path)[0].close()  # raises if the path itself is wrong
    with unbroken(path):
        archive = zipfile.ZipFile(path)
    with archive:
        arrays = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
        chosen = choose(path, arrays, member)
        info = archive.getinfo(f"{chosen}.npy")
        with unbroken(path):
            file = archive.open(info)  # holds the archive open by itself
    name = f"{path}[{chosen}]"
    try:
        return _stored(name, file, info.file_size, spool=True)
    except BaseException:
        file.close()
        raise


def open_safetensors(path: str, member: str | None = None) -> Stored:
    """Open one tensor of a .safetensors file."""
    file, size = open_regular(path)
    try:
        start, entries = _entries(path, file, size)
        chosen = choose(path, list(entries), member)
        name, entry = f"{path}[{chosen}]", entries[chosen]
        layout = sequence(name, entry.shape, SAFETENSORS.get(entry.dtype, entry.dtype))
        return _placed(name, file, size - start, start, entry, layout)
    except BaseException:
        file.close()
        raise


def open_tensors(
    path: str, names: Sequence[str], optional: Sequence[str], ids: str
) -> dict[str, tuple[Stored, tuple[int, ...]]]:
    """Open the tensors `names` of a .safetensors file, and those of `optional` and `ids` if there.

    Returns:
        name -> its reader as `[B, T, C]`, and the axes that are flattened to C.
    """
    file, size = open_regular(path)
    with file:
        start, entries = _entries(path, file, size)
    more = *optional, ids
    held, listed = (
        ", ".join(entries) or "nothing",
        f"{', '.join(names)} and optionally {', '.join(more)}",
    )
    for name in names:
        if name not in entries:
            raise FileError(f"{path}: has no tensor {name!r} among {held}; give {listed}")
    for name in entries:
        if name not in (*names, *more):
            raise FileError(f"{path}: holds {name!r} besides {listed}; leave it out")
    found = {}
    with ExitStack() as stack:
        for name in (name for name in (*names, *more) if name in entries):
            where, entry = f"{path}[{name}]", entries[name]
            layout = _argument(where, entry, whole=name == ids)
            placed = _placed(where, open_regular(path)[0], size - start, start, entry, layout)
            stack.callback(placed.close)
            found[name] = placed, entry.shape[2:]
        stack.pop_all()  # the caller closes them
    return found


def _argument(name: str, entry: Entry, whole: bool) -> Layout:
    """The layout of `[B, T, ...]`, with the last axes flattened."""
    if len(entry.shape) < 2:
        raise FileError(f"{name}: has shape {list(entry.shape)}, expected [B, T, ...]; reshape it")
    kinds = _IDS if whole else SAFETENSORS
    if entry.dtype not in kinds:
        told = SAFETENSORS.get(entry.dtype, entry.dtype)
        raise FileError(
            f"{name}: holds {told}, expected {', '.join(kinds.values())}; convert it first"
        )
    return Layout((*entry.shape[:2], prod(entry.shape[2:])), kinds[entry.dtype])


def _placed(
    name: str, file: BinaryIO, space: int, start: int, entry: Entry, layout: Layout
) -> Stored:
    """The reader of a tensor whose numbers begin at `entry.begin` of the `space` after `start`."""
    there = min(entry.end, space) - entry.begin
    try:
        _whole(name, layout, layout.bits.itemsize, there, entry.end - entry.begin)
    except FileError:
        file.close()
        raise
    return Stored(name, file, start + entry.begin, layout, layout.bits, False)


def choose(path: str, names: list[str], member: str | None) -> str:
    """The name of the chosen array, or of the only one."""
    listed = ", ".join(names)
    if not names:
        raise FileError(f"{path}: holds no arrays; put one in")
    if member is None and len(names) > 1:
        raise FileError(f"{path}: holds {len(names)} arrays ({listed}); choose one with --member")
    if member is not None and member not in names:
        raise FileError(f"{path}: has no array {member!r}; choose --member from {listed}")
    return member or names[0]


@contextmanager
def unbroken(name: str) -> Iterator[None]:
    """Turn every error of zipfile into a FileError of one line."""
    try:
        yield
    except zipfile.BadZipFile as error:
        raise FileError(f"{name}: is not a whole .npz ({error}); write it again") from error
    except _BROKEN as error:
        raise FileError(f"{name}: cannot be unpacked ({error}); write it again") from error


def _stored(name: str, file: IO[bytes], size: int, spool: bool = False) -> Stored:
    header = _npy_header(name, file)
    layout = sequence(name, header.shape, header.dtype.newbyteorder("=").name, integers=True)
    _whole(name, layout, header.dtype.itemsize, size - header.start, size - header.start)
    fortran = header.fortran and len(header.shape) > 1
    if fortran and len(header.shape) == 3:
        raise FileError(
            f"{name}: [B, T, C] lies in Fortran order, expected C order; "
            "save np.ascontiguousarray of it"
        )
    if fortran and spool:  # channels are apart, and a compressed stream cannot seek back
        plain = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the source
        try:
            with unbroken(name):
                shutil.copyfileobj(file, plain)
        except BaseException:
            plain.close()
            raise
        file.close()
        return Stored(name, plain, 0, layout, header.dtype, fortran)
    return Stored(name, file, header.start, layout, header.dtype, fortran)


def _npy_header(name: str, file: IO[bytes]) -> Header:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with unbroken(name):
        magic = file.read(len(np.lib.format.MAGIC_PREFIX))
        if magic != np.lib.format.MAGIC_PREFIX:
            raise FileError(
                f"{name}: is not a .npy file (it begins with {magic!r}); check the type"
            )
        file.seek(0)
        try:
            version = np.lib.format.read_magic(file)
            shape, fortran, dtype = readers[version](file)
        except (ValueError, KeyError) as error:
            line = " ".join(str(error).split())
            raise FileError(
                f"{name}: its .npy header is broken ({line}); write it again"
            ) from error
        return Header(shape, fortran, dtype, file.tell())


def _entries(path: str, file: BinaryIO, size: int) -> tuple[int, dict[str, Entry]]:
    """Where the tensors of a .safetensors begin, and the header entry of each."""
    head = file.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
    if length > min(size - 8, _MOST_HEADER):
        raise FileError(f"{path}: is not a whole .safetensors file; check the type")
    try:
        said = json.loads(file.read(length))
        said.pop("__metadata__", None)
        return 8 + length, {
            name: Entry(e["dtype"], tuple(e["shape"]), *e["data_offsets"])
            for name, e in said.items()
        }
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise FileError(f"{path}: its .safetensors header is broken; check the type") from error


def _whole(name: str, layout: Layout, itemsize: int, there: int, claimed: int) -> None:
    """Refuse a file whose size does not match its header."""
    needed = prod(n or 0 for n in layout.shape) * itemsize
    if there < needed:
        raise FileError(
            f"{name}: is truncated: {layout.dtype} {list(layout.shape)} takes {needed} bytes, "
            f"{max(there, 0)} are there; write it again"
        )
    if claimed > needed:
        raise FileError(
            f"{name}: {claimed - needed} bytes follow the {needed} of its array; write it again"
        )
