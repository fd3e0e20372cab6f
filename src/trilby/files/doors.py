"""Open a reader or a writer of sequences, chosen by the file extension."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, BinaryIO

from ..errors import FileError
from .sequence import Layout, Sink, Source
from .staged import Staged
from .stored import open_npy, open_npz, open_safetensors
from .storing import NpySink, NpzSink, SafetensorsSink
from .text import Text


def _table(path: str, **options: Any) -> Source:
    _needs_arrow(path)
    from .table import open_table  # imports pyarrow, which an array does not need

    return open_table(path, **options)


def _parquet(path: str, **options: Any) -> Source:
    _needs_arrow(path)
    from .parquet import Parquet

    return Parquet(path, **options)


def _table_sink(file: Any, layout: Layout) -> Sink:
    path = getattr(file, "path", "-").lower()
    _needs_arrow(path)
    from .tablesink import TableSink

    tabs = path.endswith((".tsv", ".tsv.gz"))
    return TableSink(file, layout, "\t" if tabs else ",", path.endswith(".gz"))


def _parquet_sink(file: Any, layout: Layout) -> Sink:
    _needs_arrow(file.path)
    from .parquet import ParquetSink

    return ParquetSink(file, layout)


def _needs_arrow(path: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise FileError(
            f"{path}: tables are read and written by pyarrow, which cannot be imported ({error}); "
            "pip install pyarrow, or convert the table to a .npy"
        ) from error


_COLUMNS = ("columns", "keep", "index", "all_but", "skip_missing")
_CSV = (*_COLUMNS, "sep", "quote", "decimal", "thousands", "comment", "no_header")
_TEXTS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_TABLES = (*_TEXTS, ".parquet")
_READERS: dict[str, tuple[Callable[..., Source], tuple[str, ...]]] = {
    ".npy": (open_npy, ()),
    ".npz": (open_npz, ("member",)),
    ".safetensors": (open_safetensors, ("member",)),
    **dict.fromkeys(_TEXTS, (_table, _CSV)),
    ".parquet": (_parquet, _COLUMNS),
    ".txt": (Text, ("alphabet",)),
}
_WRITERS: dict[str, Callable[[Any, Layout], Sink]] = {
    ".npy": NpySink,
    ".npz": NpzSink,
    ".safetensors": SafetensorsSink,
    **dict.fromkeys(_TEXTS, _table_sink),
    ".parquet": _parquet_sink,
}


def open_source(path: str, **given: Any) -> Source:
    """A reader of the sequence at `path`; `-` is csv on standard input.

    Args:
        path: ends in .npy, .npz, .safetensors, .csv, .tsv, either of them with .gz, .parquet, .txt.
        given: options, each for some kinds of file; None, False and empty ones are not given.
            `member`: which array of an .npz or a .safetensors; needed where there are several.
            `columns`, `keep`, `index`, `all_but`: see `choose_columns`.
            `skip_missing`: read cells of a table without a value as nan.
            `sep`, `quote`, `decimal`, `thousands`, `comment`, `no_header`: see `open_table`.
            `alphabet`: the characters of a .txt, in the order of the columns; None means those in
            it.

    Raises:
        FileError: the file is not of the type of its name, or an option does not apply to it.
    """
    kind = ".csv" if path == "-" else _kind(path, list(_READERS), "read")
    reader, takes = _READERS[kind]
    chosen = {option: value for option, value in given.items() if _is_given(option, value)}
    for option in chosen:
        if option not in takes:
            *others, last = (k for k, (_, takes) in _READERS.items() if option in takes)
            kinds = f"{', '.join(others)} and {last}" if others else last
            refuse_options(path, f"{kinds}, not {kind}", **{option: chosen[option]})
    return reader(path, **chosen)


def refuse_options(path: str, what_for: str, **given: Any) -> None:
    """Raise a FileError if an option of `open_source` is given that does not apply here."""
    for option, value in given.items():
        if _is_given(option, value):
            name = {"columns": "column"}.get(option, option).replace("_", "-")
            raise FileError(f"{path}: --{name} is for {what_for}; leave it out")


def open_sink(path: str, file: Staged | BinaryIO, layout: Layout) -> Sink:
    """A writer of a sequence of this layout into `file`, in the format that `path` ends in.

    Raises:
        FileError: the format cannot be written, or cannot hold the layout.
    """
    kind = output_kind(path)
    if kind in _TABLES and len(layout.shape) > 2:
        batch = (
            "[B, T, C]" if len(layout.shape) == 3 else f"[B, T, ...] of {len(layout.shape)} axes"
        )
        raise FileError(
            f"{path}: a {kind[1:]} holds [T] or [T, C], this is {batch}; write a .npy, .npz or "
            ".safetensors"
        )
    return _WRITERS[kind](file, layout if kind in _TABLES else replace(layout, kept=()))


def kind_of(path: str) -> str:
    """The kind of a file that is read or written, `-` for a pipe."""
    return "-" if path == "-" else _kind(path, list(_READERS), "read")


def output_kind(path: str) -> str:
    """The format that is written to `path`; `-` is csv on standard output."""
    return ".csv" if path == "-" else _kind(path, list(_WRITERS), "written")


def holds_text(path: str) -> bool:
    """Whether the output can hold columns that are kept as they are."""
    return output_kind(path) in _TABLES


def _is_given(option: str, value: object) -> bool:
    if option in ("quote", "index"):  # an empty one means something
        return value is not None
    return value not in (None, (), False, "")


def _kind(path: str, kinds: list[str], done: str) -> str:
    name = path.lower()
    found = [kind for kind in kinds if name.endswith(kind)]
    if not found:
        last = name.replace("\\", "/").rpartition("/")[2]
        dot = last.rfind(".", 1)
        ending = f"ends in {last[dot:]!r}" if dot > 0 else "has no ending"
        raise FileError(f"{path}: {ending}, the kinds that can be {done} are {' '.join(kinds)}")
    return max(found, key=len)
