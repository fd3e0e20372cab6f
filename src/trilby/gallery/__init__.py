"""Small modules: most have one fault from a public bug report, some are correct but look wrong.

`WRONG` holds the faulty ones, `SOUND` the correct ones, `GALLERY` both. `trilby gallery` lists
them.
"""

from . import (
    batches,
    caches,
    chunks,
    convolutions,
    gradients,
    inputs,
    masks,
    numerics,
    packing,
    padding,
    paths,
    repeats,
    routing,
    sound_attention,
    sound_casts,
    sound_mixers,
    sound_streams,
    states,
    statistics,
    streams,
)
from .exhibit import LAWS, Exhibit

_FAMILIES = (
    repeats, paths, masks, statistics, routing, convolutions, chunks, caches, states, streams,
    batches, padding, packing, gradients, numerics, inputs,
)  # fmt: skip
_LABELLED = [exhibit for family in _FAMILIES for exhibit in family.EXHIBITS]

WRONG: dict[str, Exhibit] = {
    exhibit.name: exhibit for law in LAWS for exhibit in _LABELLED if exhibit.law == law
}
"""Name -> faulty exhibit, in the order of the laws that they break first."""

SOUND: dict[str, Exhibit] = {
    exhibit.name: exhibit
    for exhibits in (
        sound_attention.EXHIBITS,
        sound_mixers.EXHIBITS,
        sound_casts.EXHIBITS,
        sound_streams.EXHIBITS,
        inputs.RIGHT,
    )
    for exhibit in exhibits
}
"""Name -> exhibit that breaks no law."""

GALLERY: dict[str, Exhibit] = WRONG | SOUND
"""Name -> exhibit, the faulty ones first."""

__all__ = ["GALLERY", "LAWS", "SOUND", "WRONG", "Exhibit"]
