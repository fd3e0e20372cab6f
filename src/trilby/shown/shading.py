"""How strong a weight is drawn, and in which colour: one rule for terminal, picture and page."""

import math
from typing import NamedTuple

DECADES = 4  # that the logarithmic scale spans; what is smaller has its weakest colour


class Palette(NamedTuple):
    """Colours as (red, green, blue); each hue goes from `paper` to its own."""

    paper: tuple[int, int, int]
    future: tuple[int, int, int]
    weight: tuple[int, int, int]
    negative: tuple[int, int, int]
    leak: tuple[int, int, int]


LIGHT = Palette((255, 255, 255), (240, 240, 243), (9, 71, 165), (173, 74, 0), (192, 0, 168))
DARK = Palette((22, 24, 29), (34, 37, 44), (122, 184, 255), (255, 170, 92), (255, 110, 240))
WEAKEST = 0.12  # of the way from the paper, so that no weight but zero looks like none


def share(weight: float, top: float) -> float:
    """From 0 for no weight to 1 for the largest, on a logarithmic scale.

    >>> share(1.0, 1.0), round(share(0.01, 1.0), 3), share(1e-9, 1.0), share(0.0, 1.0)
    (1.0, 0.56, 0.12, 0.0)
    """
    if weight == 0 or top == 0:
        return 0.0
    size = abs(weight) / top
    if not size < 1:  # also NaN
        return 1.0
    return WEAKEST + (1 - WEAKEST) * max(0.0, 1 + math.log10(size) / DECADES)


def colour(weight: float, top: float, ahead: bool, palette: Palette) -> tuple[int, int, int]:
    """The colour of one cell.

    Args:
        ahead: whether the cell is above the diagonal, where a weight is a leak.
    """
    if weight == 0:
        return palette.future if ahead else palette.paper
    hue = palette.leak if ahead else palette.negative if weight < 0 else palette.weight
    strength = share(weight, top)
    mixed = [round(p + (h - p) * strength) for p, h in zip(palette.paper, hue, strict=True)]
    return mixed[0], mixed[1], mixed[2]
