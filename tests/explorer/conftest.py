"""Pages of the explorer, opened in the browser."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from trilby.explorer import Explored

PAGE = Path(__file__).parents[2] / "page"


@dataclass
class Opened:
    """A page in the browser, and all that it asked for or complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def heard(self, message: Any) -> None:
        """Keep what is an error; advice on reading pixels is for the tests that read them."""
        if message.type == "error":
            self.complaints.append(message.text)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def fact(self, name: str) -> str:
        return self.text(f"[data-fact={name}]")

    def go(self, hash: str) -> None:
        """Choose by the address, as a link does."""
        self.page.evaluate("hash => { location.hash = hash }", hash)
        self.page.evaluate("() => new Promise(requestAnimationFrame)")

    def pixel(self, t: int, s: int, size: int) -> tuple[int, ...]:
        """The colour of a cell beside its middle, where a sign may stand; of the whole triangle."""
        return tuple(
            self.page.evaluate(
                """([t, s, size]) => {
                  const canvas = document.querySelector('.view:not([hidden]) .square canvas');
                  const ratio = canvas.width / parseFloat(canvas.style.width);
                  const side = parseFloat(canvas.style.width) - 54 - 16;
                  const at = n => (n + 0.25) * side / size;
                  const [x, y] = [54 + at(s), 40 + at(t)].map(n => Math.floor(n * ratio));
                  return [...canvas.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3);
                }""",
                [t, s, size],
            )
        )


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Open an `Explored`, or text of HTML, from a file."""
    yield from opener(browser, tmp_path)


@pytest.fixture(scope="module")
def kept(browser: Any, tmp_path_factory: Any) -> Iterator[Callable[..., Opened]]:
    """The same for pages that all tests of a file share."""
    yield from opener(browser, tmp_path_factory.mktemp("pages"))


def opener(browser: Any, folder: Path) -> Iterator[Callable[..., Opened]]:
    """A function that opens pages; they are closed in the end."""
    contexts = []

    def open_(shown: Explored | str, hash: str = "", wait: bool = True, **how: Any) -> Opened:
        path = folder / "page.html"
        if isinstance(shown, str):
            path.write_text(shown, encoding="utf-8")
        else:
            shown.save(path)
        context = browser.new_context(
            viewport=how.pop("viewport", {"width": 1200, "height": 900}), **how
        )
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.on("console", found.heard)
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.goto(f"{path.as_uri()}#{hash}")
        if wait:
            found.page.wait_for_selector("html[data-ready]")
        return found

    yield open_
    for context in contexts:
        context.close()
