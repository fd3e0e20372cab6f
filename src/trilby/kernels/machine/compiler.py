"""Compile a kernel once per element type, keep it on disk where that is possible.

Compilation holds one lock of ours, and a fork waits for it: a child never inherits a compiler
that another thread was in the middle of.
"""

import logging
import os
import threading
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy.ma  # noqa: F401, numba asks for it in the first call, and a fork may come just then
from numba.core.errors import NumbaError

_lock = threading.RLock()
_log = logging.getLogger("trilby")


class Kernel:
    """A function that numba compiles, one machine program for each element type.

    Args:
        source: the Python function; it must not allocate and not call Python.
        signature: element type -> the numba types of its arguments.
    """

    def __init__(self, source: Callable[..., None], signature: Callable[[Any], tuple[Any, ...]]):
        # numba looks at the file of a function before it takes a program from disk, not at those
        # of the functions that it calls; the name under which it is kept tells of them all.
        source.__qualname__ += f".{fingerprint(Path(__file__).parent.parent):08x}"
        self._source = source
        self._signature = signature
        self._programs: dict[Any, Callable[..., None]] = {}

    def of(self, element: Any) -> Callable[..., None]:
        """The program for one element type; compiled, or loaded from disk, at the first call."""
        program = self._programs.get(element)
        if program is None:
            with _lock:
                program = self._programs.get(element) or self._compile(element)
                self._programs[element] = program
        return program

    def _compile(self, element: Any) -> Callable[..., None]:
        signature = self._signature(element)
        try:
            program = numba.njit(nogil=True, cache=True)(self._source)
            program.compile(signature)
        except NumbaError:
            raise  # a fault in the kernel, not in the cache
        except Exception as problem:  # read-only, full, missing, or a damaged file: many types
            _log.warning(
                "trilby: kernel cache not usable (%s: %s); compiling for this process only; "
                "set NUMBA_CACHE_DIR to a folder that can be written",
                type(problem).__name__,
                " ".join(str(problem).split()),
            )
            program = numba.njit(nogil=True)(self._source)
            program.compile(signature)
        return program


@cache
def fingerprint(folder: Path) -> int:
    """A number that changes whenever the source of a kernel in this folder does."""
    found = 0
    for path in sorted(folder.rglob("*.py")):
        found = zlib.crc32(path.read_bytes(), found)
    return found


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
