"""Open a reader or a writer of sequences, chosen by the file extension."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from ..errors import FileError
from .sequence import Layout, Sink, Source
from .staged import Staged
from .stored import open_npy, open_npz, open_safetensors
from .storing import NpySink, NpzSink, SafetensorsSink
from .table import Table, TableSink, open_table
from .text import Text

_READERS: dict[str, tuple[Callable[..., Source], tuple[str, ...]]] = {
    ".npy": (open_npy, ()),
    ".npz": (open_npz, ("member",)),
    ".safetensors": (open_safetensors, ("member",)),
    ".csv": (open_table, ("columns", "skip_missing")),
    ".txt": (Text, ("alphabet",)),
}
_WRITERS: dict[str, Callable[[Any, Layout], Sink]] = {
    ".npy": NpySink,
    ".npz": NpzSink,
    ".safetensors": SafetensorsSink,
    ".csv": TableSink,
}
_OPTIONS = dict(
    member="--member", columns="--column", skip_missing="--skip-missing", alphabet="--alphabet"
)


def open_source(
    path: str,
    *,
    member: str | None = None,
    columns: Sequence[str] = (),
    alphabet: str | None = None,
    skip_missing: bool = False,
) -> Source:
    """A reader of the sequence at `path`; `-` is csv on standard input.

    Args:
        path: ends in .npy, .npz, .safetensors, .csv or .txt.
        member: which array of an .npz or a .safetensors; needed where there are several.
        columns: which columns of a csv, in which order; empty means all.
        alphabet: the characters of a .txt, in the order of the columns; None means those in it.
        skip_missing: leave out the lines of a csv in which a value is missing.

    Raises:
        FileError: the file is not of the type of its name, or an option does not apply to it.
    """
    given: dict[str, Any] = dict(
        member=member,
        columns=tuple(columns) or None,
        alphabet=alphabet,
        skip_missing=skip_missing or None,
    )
    kind = ".csv" if path == "-" else _kind(path, list(_READERS), "read")
    reader, takes = _READERS[kind]
    chosen = {option: value for option, value in given.items() if value is not None}
    for option in chosen:
        if option not in takes:
            kinds = " and ".join(k for k, (_, takes) in _READERS.items() if option in takes)
            refuse_options(path, f"{kinds}, not {kind}", **{option: chosen[option]})
    if path == "-":
        return Table("standard input", sys.stdin.buffer, None, **chosen)
    return reader(path, **chosen)


def refuse_options(path: str, what_for: str, **given: Any) -> None:
    """Raise a FileError if an option of `open_source` is given that does not apply here."""
    for option, value in given.items():
        if value not in (None, (), False):
            raise FileError(f"{path}: {_OPTIONS[option]} is for {what_for}; leave it out")


def open_sink(path: str, file: Staged | BinaryIO, layout: Layout) -> Sink:
    """A writer of a sequence of this layout into `file`, in the format that `path` ends in.

    Raises:
        FileError: the format cannot be written, or cannot hold the layout.
    """
    kind = output_kind(path)
    if kind == ".csv" and len(layout.shape) > 2:
        batch = (
            "[B, T, C]" if len(layout.shape) == 3 else f"[B, T, ...] of {len(layout.shape)} axes"
        )
        raise FileError(
            f"{path}: a csv holds [T] or [T, C], this is {batch}; write a .npy, .npz or "
            ".safetensors"
        )
    return _WRITERS[kind](file, layout)


def output_kind(path: str) -> str:
    """The format that is written to `path`; `-` is csv on standard output."""
    return ".csv" if path == "-" else _kind(path, list(_WRITERS), "written")


def _kind(path: str, kinds: list[str], done: str) -> str:
    kind = os.path.splitext(path)[1].lower()
    if kind not in kinds:
        ending = f"ends in {kind!r}" if kind else "has no ending"
        raise FileError(f"{path}: {ending}, the kinds that can be {done} are {' '.join(kinds)}")
    return kind
