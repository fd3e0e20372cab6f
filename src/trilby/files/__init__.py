"""Sequences in files, read and written block by block. It works on arrays, not on mixers."""

from .bundle import IDS, Bundle, open_bundle
from .doors import holds_text, open_sink, open_source, output_kind
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
    "holds_text",
    "open_bundle",
    "open_sink",
    "open_source",
    "output_kind",
]
