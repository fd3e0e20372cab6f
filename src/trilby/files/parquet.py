"""Sequences in .parquet files, read and written by pyarrow in batches."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from ..errors import FileError
from .cells import column_of, numbers
from .choosing import choose_columns, typed
from .counting import Counting
from .opening import open_regular
from .sequence import Block, Layout, Sink, Source
from .staged import Staged

_INDEX = "__index_level_"  # how pandas names an index without a name
_GROUP = 1 << 17  # rows of a row group


class Parquet(Source):
    """The columns of a .parquet as `[T, C]`: float32 if all are, float64 otherwise."""

    def __init__(self, path: str, skip_missing: bool = False, **choice: Any) -> None:
        self.name, self.skip_missing = path, skip_missing
        self.file, self.size = open_regular(path)
        try:
            self.stored = parquet.ParquetFile(self.file)
            self._choose(**choice)
        except pa.ArrowException as error:
            self.file.close()
            told = " ".join(str(error).split())
            raise FileError(f"{path}: is not a whole .parquet ({told}); write it again") from error
        except BaseException:
            self.file.close()
            raise

    def blocks(self, steps: int | None = None) -> Iterator[Block]:
        steps = steps or self.layout.steps()
        names = [self.header[i] for i in (*self.chosen.kept, *self.chosen.mixed)]
        done, kept = 0, len(self.chosen.kept)
        try:
            for batch in self.stored.iter_batches(min(steps, _GROUP), columns=names):
                table = pa.Table.from_batches([batch]).select(names)
                values = self._numbers(table, done)
                self.counting.see(values)
                done += len(table)
                self.done = (self.size or 0) * done // self.layout.shape[0]  # type: ignore[operator]
                yield Block(slice(0, 1), values[None], table.select(names[:kept]) if kept else None)
        except pa.ArrowException as error:
            raise FileError(f"{self.name}: cannot be read after row {done} ({error})") from error
        if not done:
            yield Block(slice(0, 1), np.empty((1, 0, self.layout.C), self.layout.bits), None)
        self.noted += self.counting.noted()

    def close(self) -> None:
        self.stored.close()
        self.file.close()

    def _choose(self, **choice: Any) -> None:
        schema = self.stored.schema_arrow
        self.header = list(schema.names)
        if len(set(self.header)) < len(self.header):
            raise FileError(
                f"{self.name}: two columns have one name ({', '.join(self.header)}); rename one"
            )
        said = (schema.pandas_metadata or {}).get("index_columns", ())
        own = [i for i, n in enumerate(self.header) if n in said or n.startswith(_INDEX)]
        self.chosen = choose_columns(self.name, self.header, own, **choice)
        self.noted += self.chosen.noted
        types = [schema.field(i).type for i in self.chosen.mixed]
        for i, kind in zip(self.chosen.mixed, types, strict=True):
            if not (
                pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
            ):
                name, column = self.header[i], typed(self.header[i])
                raise FileError(
                    f"{self.name}: column {name} holds {kind}, not numbers; keep it with --keep "
                    f"{column}, or leave it out with --all-but {column}"
                )
        narrow = all(kind == pa.float32() for kind in types)
        mixed, kept = ([self.header[i] for i in part] for part in self.chosen[:2])
        self.counting = Counting(() if self.chosen.named else mixed)
        rows = self.stored.metadata.num_rows
        dtype = "float32" if narrow else "float64"
        self.layout = Layout((rows, len(mixed)), dtype, tuple(mixed), tuple(kept))

    def _numbers(self, table: pa.Table, done: int) -> np.ndarray:
        """[rows, C], nan where a value is missing."""
        columns = []
        for i in self.chosen.mixed:
            column = table[self.header[i]]
            if column.null_count and not self.skip_missing:
                row = done + int(np.flatnonzero(column.is_null().to_numpy())[0])
                raise FileError(
                    f"{self.name}: row {row}: column {self.header[i]}: the value is missing; fill "
                    "it in, or leave such cells out with --skip-missing"
                )
            columns.append(numbers(column.cast(pa.float64())).astype(self.layout.bits))
        values = np.stack(columns, 1)
        if self.skip_missing:
            self.skipped += int(np.isnan(values).sum())
        return values


class ParquetSink(Sink):
    """A .parquet with the kept columns, and one of floats for each channel."""

    def __init__(self, file: Staged, layout: Layout) -> None:
        self.file, self.layout = file, layout
        self.names = [*layout.kept, *(layout.columns or [f"c{i}" for i in range(layout.C)])]
        if len(set(self.names)) < len(self.names):
            raise FileError(
                f"{file.path}: two columns have one name ({', '.join(self.names)}); a .parquet "
                "needs a name for each, choose with --column"
            )
        self.kept: Any = None
        self.waiting: list[pa.Table] = []
        self.writer: Any = None

    def keep(self, kept: Any) -> None:
        self.kept = kept

    def append(self, values: np.ndarray) -> None:
        rows = values[0]
        if self.layout.dtype == "bfloat16":
            rows = (rows.astype(np.uint32) << 16).view(np.float32)
        columns = [] if self.kept is None else list(self.kept.columns)
        columns = columns or [pa.array([], pa.string())] * len(self.layout.kept)
        columns += [column_of(rows[:, c]) for c in range(rows.shape[1])]
        self.kept = None
        self.waiting.append(pa.table(columns, self.names))
        if sum(map(len, self.waiting)) >= _GROUP:
            self._pass_on()

    def finish(self, steps: int) -> None:  # noqa: ARG002  # the writer counts the rows
        self._pass_on()
        self.writer.close()

    def abort(self) -> None:
        self.waiting = []

    def _pass_on(self) -> None:
        if not self.waiting:
            return
        table = pa.concat_tables(self.waiting)
        self.waiting = []
        if self.writer is None:
            self.writer = parquet.ParquetWriter(self.file, table.schema)
        self.writer.write_table(table)
