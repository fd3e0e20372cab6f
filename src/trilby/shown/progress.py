"""One line on standard error that says what is being done; it clears itself at the end.

It is drawn by hand and not by rich, whose import takes longer than many checks, and it shows at a
terminal only: neither in a file, nor in a notebook, nor under pytest.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TextIO

WAIT = 1.0  # seconds before it shows
EVERY = 0.5  # seconds between two drawings


class Progress:
    """The line. Without a terminal, `stream=None`, every method does nothing."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """`stream` is the terminal."""
        self.stream, self.text, self._shown = stream, "", 0
        self._began, self._over, self._lock = time.monotonic(), Event(), Lock()
        self._drawer = Thread(target=self._draw_again, daemon=True, name="trilby-progress")

    def say(self, text: str) -> None:
        """What is being done now; it is drawn with the seconds since the beginning."""
        self.text = text

    def clear(self) -> None:
        """Leave the line empty, for a message; it is drawn again."""
        if self.stream is None:
            return
        with self._lock:
            self._write("")

    def start(self) -> None:
        """Begin to draw."""
        if self.stream is not None:
            self._drawer.start()

    def stop(self) -> None:
        """Draw no more, and leave nothing."""
        if self.stream is not None:
            self._over.set()
            self._drawer.join()
            self.clear()

    def _draw_again(self) -> None:
        late = self._over.wait(WAIT)
        while not late:
            with self._lock:
                self._write(f"{self.text}  {time.monotonic() - self._began:.0f} s")
            late = self._over.wait(EVERY)

    def _write(self, text: str) -> None:
        assert self.stream is not None
        text = _fitting(text, _width(self.stream) - 1)
        text = text.encode(self.stream.encoding or "ascii", "replace").decode(
            self.stream.encoding or "ascii"
        )
        if text or self._shown:
            blank = " " * max(self._shown - len(text), 0)
            back = "\r" * bool(blank or not text)
            self.stream.write(f"\r{text}{blank}{back}{text if back else ''}")
            self.stream.flush()
        self._shown = len(text)


_shown: list[Progress] = []
"""The line that shows, if one does: whatever is called inside has none of its own."""


@contextmanager
def progress() -> Iterator[Progress]:
    """A line on standard error while the block runs, if that is a terminal; also after Ctrl-C.

    >>> with progress() as line: line.say("causal on mean.loop, 8 of 9 left")
    """
    stream = None if _shown or not at_terminal() else sys.stderr
    line = Progress(stream)
    if stream is None:
        yield line
        return
    _shown.append(line)
    line.start()
    try:
        yield line
    finally:
        _shown.remove(line)
        line.stop()


def at_terminal() -> bool:
    """Whether standard error is a terminal that can go back to the beginning of a line."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _width(stream: TextIO) -> int:
    if os.environ.get("COLUMNS", "").isdecimal():
        return max(int(os.environ["COLUMNS"]), 8)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _fitting(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3].rstrip()}..."
