"""torch's own threads, to run parts of a kernel on. Imports no compiler.

torch computes on a team of GNU OpenMP, whose threads keep their processors busy for some
milliseconds after each operation, waiting for the next. Threads of our own would have to share
the processors with them; a part that runs on the team itself begins at once.

A forked child has no threads but the one that forked, and would wait for ever for the team of its
parent, in torch's operations as in ours. So the team is dismissed before a fork; parent and child
each gather a new one when they need it.
"""

import ctypes
import os
import re
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

_MAPS = Path("/proc/self/maps")  # the files that this process has in memory
_HARD = 2  # omp_pause_hard: threads end, memory is given back
_PART = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def there() -> bool:
    """Whether torch runs on a team that can be reached."""
    return _parallel() is not None


def run(work: Callable[[], None], threads: int) -> None:
    """Call `work` on up to so many threads of the team at once, the calling one among them.

    What it raises is raised here, when all have ended, and so is an interrupt that comes before
    the calling thread has begun, where no Python can catch it.

    >>> done = []
    >>> if there():
    ...     run(lambda: done.append(threading.get_ident()), 2)
    >>> threading.get_ident() in done or not there()
    True
    """
    caller, ended, problems = threading.get_ident(), set[int](), list[BaseException]()

    def part(_: object) -> None:
        try:
            work()
        except BaseException as problem:
            problems.append(problem)
        ended.add(threading.get_ident())

    _parallel()(_PART(part), None, threads, 0)
    if problems:
        raise problems[0]
    if caller not in ended:
        raise KeyboardInterrupt


@cache
def _parallel() -> Any:
    """`GOMP_parallel` of the library that torch has loaded; None on another system or OpenMP."""
    try:
        lines = _MAPS.read_text().splitlines()
        [path] = {line.split()[-1] for line in lines if re.search(r"/libgomp[-.][^/]*$", line)}
        library = ctypes.CDLL(path)
        found, dismiss = library.GOMP_parallel, library.omp_pause_resource_all
    except (OSError, ValueError, AttributeError):
        return None
    found.argtypes, found.restype = [_PART, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lambda: dismiss(_HARD))
    return found
