"""Pictures that need no program: PNG written by hand, and SVG with the PNG inside."""

import base64
import struct
import zlib
from html import escape

import numpy as np

from ..pooling import blocks
from ..shown.shading import DARK, DECADES, LIGHT, WEAKEST, Palette
from .triangle import Triangle

SIDE, GAP = 320, 16  # pixels of a triangle, and between two
ACROSS = 8  # triangles beside each other
TITLE, BELOW = 22, 20  # pixels of the lines of text in an SVG


def pixels(triangle: Triangle, top: float, palette: Palette, side: int = SIDE) -> np.ndarray:
    """[n, n, 3] bytes, n about `side`: a square for each cell, or the largest weight of several."""
    T = len(triangle.weights)
    pooled, leaks = blocks(triangle.weights, -(-T // side))
    cells = pooled.numpy()
    ahead = np.triu(np.ones(cells.shape, bool), 1)
    ahead[leaks, leaks] = True
    size = np.abs(cells) / (top or 1.0)
    with np.errstate(divide="ignore"):
        strength = WEAKEST + (1 - WEAKEST) * np.clip(1 + np.log10(size) / DECADES, 0, 1)
    hues = np.where(ahead[..., None], palette.leak, np.where(
        (cells < 0)[..., None], palette.negative, palette.weight))  # fmt: skip
    paper = np.array(palette.paper)
    found = np.round(paper + (hues - paper) * strength[..., None])
    found[cells == 0] = palette.paper
    found[(cells == 0) & ahead] = palette.future
    each = max(1, side // len(cells))
    return found.astype(np.uint8).repeat(each, 0).repeat(each, 1)


def png(triangles: list[Triangle], palette: Palette = LIGHT, side: int = SIDE) -> bytes:
    """All triangles in rows of ACROSS at most, on one scale."""
    top = max(float(each.weights.abs().max()) for each in triangles)
    shown = [pixels(each, top, palette, side) for each in triangles]
    n, step = len(shown[0]), len(shown[0]) + GAP
    across = min(len(shown), ACROSS)
    size = (-(-len(shown) // across) * step - GAP, across * step - GAP, 3)
    image = np.full(size, palette.paper, np.uint8)
    for i, picture in enumerate(shown):
        y, x = i // across * step, i % across * step
        image[y : y + n, x : x + n] = picture
    return encoded(image)


def encoded(image: np.ndarray) -> bytes:
    """[height, width, 3] bytes as a PNG."""
    height, width, _ = image.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], 1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def svg(triangles: list[Triangle], dark: bool = False, side: int = SIDE) -> str:
    """The same with names and axes, as text that is escaped; the cells are one image each."""
    palette = DARK if dark else LIGHT
    ink = "#e8e8ec" if dark else "#1b1c20"
    top = max(float(each.weights.abs().max()) for each in triangles)
    parts, across = [], min(len(triangles), ACROSS)
    n = len(pixels(triangles[0], top, palette, side))
    wide, high = n + GAP, TITLE + n + GAP
    for i, each in enumerate(triangles):
        x, y = i % across * wide, i // across * high
        image = pixels(each, top, palette, side)
        data = base64.b64encode(encoded(image)).decode("ascii")
        parts.append(
            f'<text x="{x}" y="{y + 15}" font-weight="bold">{escape(each.name)}</text>'
            f'<image x="{x}" y="{y + TITLE}" width="{n}" height="{n}" '
            f'href="data:image/png;base64,{data}"/>'
        )
    size = across * wide - GAP, -(-len(triangles) // across) * high - GAP
    names = ", ".join(each.name for each in triangles)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1] + BELOW}" '
        f'viewBox="0 0 {size[0]} {size[1] + BELOW}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{ink}">'
        f"<title>{escape(names)}: row = position that reads, column = position read</title>"
        f"{''.join(parts)}"
        f'<text x="0" y="{size[1] + 15}">row = position that reads, column = position read</text>'
        "</svg>\n"
    )
