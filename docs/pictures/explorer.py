"""Draws the pictures of `trilby.explore` in the README and the documentation.

    python docs/pictures/explorer.py   # needs chromium on the path, playwright and pillow

The triangles of the README are SVG and PNG that trilby writes itself; the page is a screenshot.
"""

import io
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from playwright.sync_api import sync_playwright

import trilby
from trilby.explorer.pictures import svg

HERE = Path(__file__).parent
MIXERS = ["mean", "ema:0.9", "attention", "delta"]
WIDE, HIGH = 1180, 1010  # pixels of one screenshot


class Ahead(torch.nn.Module):
    """A convolution that is centred, so that it reads one position of the future."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv1d(1, 1, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


def triangles() -> None:
    """One for each mixer, and the leak of a wrong module."""
    shown = trilby.explore(MIXERS, "sonnets", T=40)
    rng = torch.Generator().manual_seed(0)
    wrong = trilby.explore([Ahead()], torch.randn(1, 40, 1, generator=rng))
    leak = wrong.triangles[0]
    leak = replace(leak, name="a centred convolution")
    for dark in (False, True):
        text = svg([*shown.triangles, leak], dark=dark, side=160)
        (HERE / f"triangles-{'dark' if dark else 'light'}.svg").write_text(text, encoding="utf-8")


def page() -> None:
    """The page of four mixers, light beside dark."""
    shown = trilby.explore(MIXERS, "sonnets", T=64)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "page.html"
        shown.save(path)
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--headless", "--no-sandbox", "--disable-gpu"],
        )
        parts = []
        for scheme in ("light", "dark"):
            tab = browser.new_page(viewport={"width": WIDE, "height": HIGH}, color_scheme=scheme)
            tab.goto(f"{path.as_uri()}#show=3&row=40&column=33&locked=1")
            tab.wait_for_selector("html[data-ready]")
            parts.append(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"))
        browser.close()
    whole = Image.new("RGB", (WIDE, 2 * HIGH))
    for i, part in enumerate(parts):
        whole.paste(part, (0, i * HIGH))
    small = whole.resize((WIDE * 3 // 4, 2 * HIGH * 3 // 4), Image.Resampling.LANCZOS)
    few = small.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(HERE / "explorer.png", optimize=True)


if __name__ == "__main__":
    triangles()
    page()
