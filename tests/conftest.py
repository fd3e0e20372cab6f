"""The browser, for every folder: one process can drive one only."""

from tests.browser import browser

__all__ = ["browser"]
