"""The site that `make docs` built."""

from pathlib import Path

import pytest

from tests.browser import missing

BUILT = Path(__file__).parents[2] / "docs" / "_build" / "html"


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built pages; `make test` builds them before the tests begin."""
    if not (BUILT / "index.html").is_file():
        missing("the documentation is not built; make docs")
    return BUILT
