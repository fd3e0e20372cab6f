"""Draws the five views of the page, each in light, in dark and 360 pixels wide, beside each other.

    python docs/pictures/views.py [VIEW...]   # needs chromium on the path, playwright and pillow

The picture of the times is to be taken on a quiet machine.
"""

import io
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from playwright.sync_api import sync_playwright

import trilby
from trilby.explorer import Explored

HERE = Path(__file__).parent
WIDE, NARROW, GAP, SHARE = 1120, 360, 24, 0.62  # pixels; of the screen's pixels that are kept
STEP = "step=4&show=2&row=40&column=36&locked=1&own=1"
MIXERS = ["mean", "ema:0.9", "attention", "delta"]


def difference(x: torch.Tensor) -> torch.Tensor:
    """How much the next position is larger: a leak."""
    return x.roll(-1, 1) - x


def several() -> Explored:
    return trilby.explore(MIXERS, "sonnets", T=48)


def leaking() -> Explored:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, 32, 2, generator=rng)
    return trilby.explore([difference, "mean"], x, gallery=True)


VIEWS: dict[str, tuple[Callable[[], Explored], str, int]] = {  # what, where, how high
    "matrix": (several, "view=matrix&show=3&row=40&column=33&locked=1", 1010),
    "leaks": (leaking, "view=leaks&show=0&row=8&column=9&locked=1", 1500),
    "forms": (several, "view=forms&show=3&row=30&locked=1", 1010),
    "bench": (lambda: trilby.explore(MIXERS[:3], "sonnets", T=48, bench=True), "view=bench", 1010),
    "story": (lambda: trilby.explore(story=True), f"view=matrix&{STEP}", 1090),
}


def drawn(browser: Any, address: str, high: int) -> Image.Image:
    """Light, dark and narrow, from the left."""
    parts = []
    for wide, scheme in ((WIDE, "light"), (WIDE, "dark"), (NARROW, "light")):
        tab = browser.new_page(viewport={"width": wide, "height": high}, color_scheme=scheme)
        tab.goto(address)
        tab.wait_for_selector("html[data-ready]")
        parts.append(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"))
        tab.close()
    whole = Image.new("RGB", (sum(part.width for part in parts) + 2 * GAP, high), "#8a8d96")
    x = 0
    for part in parts:
        whole.paste(part, (x, 0))
        x += part.width + GAP
    size = (round(whole.width * SHARE), round(high * SHARE))
    return whole.resize(size, Image.Resampling.LANCZOS)


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--headless", "--no-sandbox", "--disable-gpu"],
        )
        for name in names or VIEWS:
            made, where, high = VIEWS[name]
            path = Path(folder) / f"{name}.html"
            made().save(path)
            image = drawn(browser, f"{path.as_uri()}#{where}", high)
            few = image.quantize(255, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            few.save(HERE / f"view-{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
