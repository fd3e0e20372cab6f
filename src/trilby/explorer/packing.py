"""Numbers as bytes for the page, and the one rule for how many digits are kept."""

import base64
import zlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..pooling import blocks
from .triangle import Triangle

EXACT = 50_000  # weights up to which float32 is kept whole
WHOLE = 2_200_000  # weights up to which none is left out
SMALL = 150_000  # the same in a notebook
SHORT = 11  # binary digits that are kept of more weights than EXACT: half a unit is 2^-11
SAMPLE = 1 << 15  # bytes before and after the middle that say how to compress
TINY = np.float32(np.finfo(np.float32).tiny)


class Precision(NamedTuple):
    """How the weights are kept.

    Attributes:
        cells: how many weights there are, above the diagonal only where a leak is.
        bits: binary digits that are kept of each.
        digits: decimal digits that are shown.
        ratio: how many positions one cell stands for in each direction.
    """

    cells: int
    bits: int
    digits: int
    ratio: int

    def __str__(self) -> str:
        pooled = (
            f" one cell stands for {self.ratio} x {self.ratio} and has the largest of them;"
            if self.ratio > 1
            else ""
        )
        kept = f"kept with {self.bits} binary digits, shown with {self.digits}"
        return f"{self.cells:,} weights:{pooled} {kept}"


def precision(triangles: list[Triangle], most: int = WHOLE) -> Precision:
    """The rule: up to EXACT weights in full, up to `most` with SHORT digits, then pooled.

    A cell of a pooled triangle has the weight of its block whose absolute value is largest: a mean
    would hide a single leak.
    """
    T = len(triangles[0].weights)
    full = [bool(each.ahead) for each in triangles]
    count = lambda n: sum(n * n if whole else n * (n + 1) // 2 for whole in full)
    ratio = 1
    while count(-(-T // ratio)) > most:
        ratio += 1
    bits, digits = (24, 6) if count(T) <= EXACT else (SHORT, 3)
    return Precision(count(T), bits, digits, ratio)


def packed(triangle: Triangle, how: Precision) -> dict[str, Any]:
    """The weights as text: base64 of deflate of the four bytes of each float32, plane by plane.

    Row by row, up to the diagonal; whole rows where a cell above it is not zero. What is not zero
    and too small for a float32 is the smallest normal one, which the page shows as "below" it.
    """
    cells, diagonal = blocks(triangle.weights, how.ratio)
    wide = cells.numpy()
    narrow = wide.astype(np.float32)
    lost = (np.abs(narrow) < TINY) & (wide != 0)
    narrow[lost] = np.sign(wide[lost]).astype(np.float32) * TINY
    full = bool(triangle.ahead)
    flat = narrow.ravel() if full else narrow[np.tril_indices(len(narrow))]
    bits = _rounded(flat.view(np.uint32), how.bits)
    planes = bits.view(np.uint8).reshape(-1, 4).T
    told = {"size": len(narrow), "full": full, "diagonal": diagonal}
    return told | {"data": _text(planes.tobytes())}


def _rounded(bits: np.ndarray, kept: int) -> np.ndarray:
    """Float32 as integers, rounded to so many binary digits."""
    drop = 24 - kept
    if not drop:
        return np.ascontiguousarray(bits)
    half = np.uint32(1 << (drop - 1))
    mask = np.uint32((0xFFFFFFFF << drop) & 0xFFFFFFFF)
    return np.ascontiguousarray((bits + half) & mask)


@dataclass
class Numbers:
    """Rows of float64 that are shown as they are, one after the other."""

    parts: list[np.ndarray] = field(default_factory=list)
    length: int = 0

    def add(self, values: Tensor | tuple[float, ...] | None) -> list[int] | None:
        """Where the numbers stand: the first, and how many."""
        if values is None:
            return None
        part = torch.as_tensor(values, dtype=torch.float64).detach().cpu().numpy().ravel()
        self.parts.append(part)
        self.length += len(part)
        return [self.length - len(part), len(part)]

    def text(self) -> str:
        """Base64 of deflate of all of them, little-endian."""
        whole = np.concatenate([np.zeros(0), *self.parts]).astype("<f8")
        return _text(whole.tobytes())


def _text(data: bytes) -> str:
    """Base64 of deflate, by the strategy that shortens a part in the middle more.

    Weights without a pattern gain nothing from earlier ones: letting zlib look for them takes ten
    times as long and makes them longer.
    """
    middle = len(data) // 2
    part = data[max(0, middle - SAMPLE) : middle + SAMPLE]
    strategy = min((zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE), key=lambda way: len(_deflated(part, way)))
    return base64.b64encode(_deflated(data, strategy)).decode("ascii")


def _deflated(data: bytes, strategy: int) -> bytes:
    writer = zlib.compressobj(6, strategy=strategy)
    return writer.compress(data) + writer.flush()
