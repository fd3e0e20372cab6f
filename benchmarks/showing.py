"""What a reader of `trilby.explore` waits for: the page is built, opens, and follows the pointer.

Needs chromium on the path and playwright. A browser is started for every page that is opened.
"""

import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from playwright.sync_api import sync_playwright
from table import Table, at_most

import trilby
from trilby.explorer import Explored
from trilby.explorer.packing import SMALL
from trilby.explorer.page import page
from trilby.explorer.triangle import Triangle

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
WATCH = """new MutationObserver(() => { window.ready ??= performance.now(); })
  .observe(document, {attributes: true, subtree: true, attributeFilter: ['data-ready']})"""
HOVER = """async () => {
  const marks = document.querySelector('.marks'), box = marks.getBoundingClientRect(), taken = [];
  for (let i = 0; i < 200; i++) {
    const began = performance.now();
    marks.dispatchEvent(new PointerEvent('pointermove',
      {clientX: box.left + 60 + i, clientY: box.top + 60 + 2 * i}));
    taken.push(performance.now() - began);
    await new Promise(requestAnimationFrame);
  }
  return taken.sort((a, b) => a - b)[100];
}"""


def table(quick: bool) -> Table:
    rounds = 1 if quick else 9
    small, large = (64, 128) if quick else (512, 2048)
    attention = trilby.explore("attention", "sonnets", T=small)
    text, built = _timed(lambda: page(attention, SMALL), rounds)
    worst = page(_worst(large))
    opened = [_opened(page(attention), rounds), _opened(worst, rounds)]
    unfolded = {name: _unfolded(name, 64 if quick else 1024) for name in trilby.mixers.MIXERS}
    slowest = max(unfolded, key=lambda name: unfolded[name])
    made = [
        {"what": f"notebook output, T {small}: MB", "figure": len(text) / 1e6},
        {"what": "the same: built in ms", "figure": 1e3 * built},
        {"what": f"page of weights without a pattern, T {large}: MB", "figure": len(worst) / 1e6},
        {"what": f"ready, T {small}: s", "figure": opened[0][0]},
        {"what": f"ready, T {large}, the same page: s", "figure": opened[1][0]},
        {"what": f"hover of a row, T {large}: ms", "figure": opened[1][1]},
        {"what": f"a mixer unfolded, the slowest ({slowest}): s", "figure": unfolded[slowest]},
    ]
    most = (0.5, 150.0, 5.0, 0.4, 1.5, 4.0, 2.0)
    targets = [at_most(row["what"], n, row["figure"]) for row, n in zip(made, most, strict=True)]
    setup = (
        f"Medians of {rounds} rounds; ready is the time from the start of the navigation in a new "
        "browser, hover the time of the page's own program for one move of the pointer."
    )
    return Table("The explorer", setup, made, targets)


def _timed(way: Any, rounds: int) -> tuple[Any, float]:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = way()
        taken.append(time.perf_counter() - began)
    return found, statistics.median(taken)


def _worst(T: int) -> Explored:
    """Weights without a pattern, which no method shortens."""
    rng = torch.Generator().manual_seed(0)
    weights = torch.randn(T, T, generator=rng, dtype=torch.float64).tril()
    shown = trilby.explore("mean", "sonnets", T=T)
    one = Triangle("worst", weights, False, "Drawn at random.")
    return replace(shown, subjects=(replace(shown.subjects[0], triangles=(one,)),))


def _opened(text: str, rounds: int) -> tuple[float, float]:
    """Seconds until it is ready, and milliseconds of one move of the pointer."""
    ready, hover = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "page.html"
        path.write_text(text, encoding="utf-8")
        for _ in range(rounds):
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            tab = browser.new_page(viewport={"width": 1200, "height": 900})
            tab.add_init_script(WATCH)
            tab.goto(path.as_uri())
            tab.wait_for_function("window.ready")
            ready.append(tab.evaluate("window.ready") / 1e3)
            hover.append(tab.evaluate(HOVER))
            browser.close()
    return statistics.median(ready), statistics.median(hover)


def _unfolded(name: str, T: int) -> float:
    """Seconds for the weights alone, one head."""
    mixer = getattr(trilby, name)
    given = mixer.drawn(B=1, T=T, C=1, dtype=torch.float64)
    return _timed(lambda: mixer.weights(*given), 1)[1]
