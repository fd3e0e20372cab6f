"""Sequences in files, read and written block after block. Knows arrays, and no mixer."""

from .bundle import IDS, Bundle, open_bundle
from .doors import open_sink, open_source, output_kind
from .sequence import BITS, Block, Layout, Sink, Source
from .staged import Staged

__all__ = [
    "BITS",
    "IDS",
    "Block",
    "Bundle",
    "Layout",
    "Sink",
    "Source",
    "Staged",
    "open_bundle",
    "open_sink",
    "open_source",
    "output_kind",
]
