"""Sequences in files, read and written block after block. Knows arrays, and no mixer."""

from .doors import open_sink, open_source, output_kind
from .sequence import BITS, Block, Layout, Sink, Source
from .staged import Staged

__all__ = [
    "BITS",
    "Block",
    "Layout",
    "Sink",
    "Source",
    "Staged",
    "open_sink",
    "open_source",
    "output_kind",
]
