"""Draws what a notebook shows of the public objects, in a light and in a dark one.

    python docs/pictures/draw.py   # needs chromium on the path, and pillow

A picture has the HTML of an object as `_repr_html_` returns it, twice, under the style that a
notebook gives to tables and text.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageChops

import trilby
from trilby.audit import Audit

HERE = Path(__file__).parent
WIDTH = 820  # pixels
STYLE = """
body { margin: 0; font: 14px/1.4 'DejaVu Sans', sans-serif; width: 820px }
section { padding: 12px 16px } .light { background: #fff; color: #111 }
.dark { background: #111; color: #eee } pre { font-size: 13px; overflow: hidden }
table { border-collapse: collapse; font-size: 12px } p { margin: 6px 0 }
"""


class Ahead(torch.nn.Module):
    """Reads one position of the future."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.cat([x[:, 1:], x[:, -1:]], 1)


def objects() -> dict[str, Any]:
    """What is drawn, by the name of its picture."""
    x = torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(0))
    report = trilby.check(Ahead(), x, effort="quick", laws=["repeats", "causal", "sound"])
    sequences = trilby.decay.draw(B=1, T=24)
    return {
        "report": report,
        "verdict": trilby.same(lambda x: 2 * x, lambda x: x + x.detach(), x),
        "mixer": trilby.mean,
        "weights": trilby.decay.weights(*sequences),
        "audit": audit(),
    }


def audit() -> Audit:
    """An audit of two models, one of which is broken."""
    verdicts = [
        {"law": "causal", "outcome": "holds", "limit": "", "sentence": "no leak"},
        {"law": "resumes", "outcome": "broken", "limit": "", "sentence": "the cache differs"},
    ]
    rows = [
        {"kind": kind, "status": "judged", "reason": "", "facts": {}, "verdicts": found}
        for kind, found in (("first_model", verdicts[:1]), ("second_model", verdicts))
    ]
    return Audit({"adapter": "demo", "version": "1"}, rows)


def page(thing: Any) -> str:
    """The object in a light and in a dark notebook."""
    shown = thing._repr_html_()
    parts = "".join(f'<section class="{mode}">{shown}</section>' for mode in ("light", "dark"))
    return f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><body>{parts}</body>'


def draw(name: str, thing: Any, folder: Path) -> None:
    """Write `name.png`."""
    source, target = folder / f"{name}.html", folder / f"{name}.png"
    source.write_text(page(thing))
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--screenshot={target}", f"--window-size={WIDTH},2400", source.as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip
    image = Image.open(target).convert("RGB")
    blank = Image.new("RGB", image.size, (255, 255, 255))
    _, _, _, bottom = ImageChops.difference(image, blank).getbbox()
    image.crop((0, 0, WIDTH, bottom)).quantize(64).save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name, thing in objects().items():
            if name in sys.argv[1:] or not sys.argv[1:]:
                draw(name, thing, Path(folder))
