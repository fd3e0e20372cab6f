"""Several sequences read together, block by block: the arguments of one call."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from ..errors import FileError
from .doors import open_source, refuse_options
from .sequence import BLOCK_BYTES, Source
from .stored import open_tensors

IDS = "documents"
"""The only argument of integers: the id of the document of each position."""


class Stretch(NamedTuple):
    """A block of every sequence of a bundle.

    Attributes:
        rows: which rows of the batch; it either continues one row or holds whole ones.
        values: argument -> `[rows, steps, ...]` in the numpy dtype of its layout.
        kept: a pyarrow.Table of the columns that are copied, if there are any.
    """

    rows: slice
    values: dict[str, np.ndarray]
    kept: Any = None


class Bundle:
    """Sequences by the name of their argument.

    Attributes:
        name: the path, as the user wrote it.
        sources: argument -> its reader.
        tails: argument -> the axes after `[B, T]`.
    """

    def __init__(
        self,
        name: str,
        sources: Mapping[str, Source],
        tails: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.name, self.sources = name, dict(sources)
        self.first = next(iter(self.sources.values()))
        self.tails = tails or {name: (s.layout.C,) for name, s in self.sources.items()}

    @property
    def size(self) -> int | None:
        """How many bytes there are to read; None if unknown."""
        sizes = [source.size for source in self.sources.values()]
        return sum(n or 0 for n in sizes) if None not in sizes else None

    @property
    def done(self) -> int:
        """How many bytes have been read."""
        return sum(source.done for source in self.sources.values())

    def shape(self, name: str) -> tuple[int, ...]:
        """`[B, T, ...]` of an argument; T is 0 if it is unknown before the end."""
        layout = self.sources[name].layout
        return (layout.B, layout.T or 0, *self.tails[name])

    def steps(self) -> int:
        """The number of positions, over all sequences, in a block of about `BLOCK_BYTES`."""
        return max(
            1, BLOCK_BYTES // max(1, sum(s.layout.step_bytes for s in self.sources.values()))
        )

    def blocks(self, steps: int | None = None) -> Iterator[Stretch]:
        """Yield every block once, in order; a long row is split into blocks of `steps`."""
        steps = steps or self.steps()
        streams = [source.blocks(steps) for source in self.sources.values()]
        for parts in zip(*streams, strict=True):
            values = {
                name: part.values.reshape(*part.values.shape[:2], *self.tails[name])
                for name, part in zip(self.sources, parts, strict=True)
            }
            yield Stretch(parts[0].rows, values, parts[0].kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self.sources.values():
            source.close()


def open_bundle(
    path: str, names: Sequence[str], optional: Sequence[str] = (), **options: Any
) -> Bundle:
    """Open the sequences in `path` for the arguments `names` of a call.

    Args:
        path: for one name, any file that `open_source` reads; for several, a .safetensors with a
            tensor `[B, T, ...]` for each, and optionally `documents` [B, T].
        names: the arguments that are needed, in their order.
        optional: further ones that may be there, if there are several.
        options: those of `open_source`, which are for one name only.

    Raises:
        FileError: the file is not of the type of its name, or an argument is missing.
    """
    if len(names) + len(optional) == 1:
        return Bundle(path, {names[0]: open_source(path, **options)})
    listed = ", ".join(names)
    where = "standard input" if path == "-" else path
    if not path.lower().endswith(".safetensors"):
        raise FileError(
            f"{where}: holds one sequence, and {listed} are needed; give one .safetensors with a "
            "tensor [B, T, ...] of each name"
        )
    refuse_options(path, f"one sequence, not for {listed}", **options)
    found = open_tensors(path, names, optional, IDS)
    tails = {name: tail for name, (_, tail) in found.items()}
    return Bundle(path, {name: source for name, (source, _) in found.items()}, tails)
