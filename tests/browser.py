"""A real browser: Debian's chromium. In CI it must be there; elsewhere it may not."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def missing(what: str) -> None:
    """Fail in CI, skip elsewhere, and say what to install."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}; CI must have it")
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for all tests of a worker."""
    path = shutil.which("chromium")
    if path is None:
        missing("no chromium on the path; apt-get install chromium")
    sync = pytest.importorskip("playwright.sync_api") if not os.environ.get("CI") else None
    if sync is None:
        import playwright.sync_api as sync
    with sync.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield found
        found.close()
