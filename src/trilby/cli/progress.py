"""A progress bar with a rate, shown on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..files import Bundle


@contextmanager
def watched(source: Bundle) -> Iterator[Callable[[], None]]:
    """Yield a function to call after every block; it draws on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("mix", total=source.size)
        yield lambda: bar.update(task, completed=source.done)
