"""Compile a kernel once per element type, keep it on disk where that is possible.

One thread compiles at a time. A fork in the middle of it waits until LLVM has done the step that
it is at, a fraction of a compilation; the child then forgets whatever the other thread had begun
and compiles for itself.
"""

import gc
import logging
import os
import threading
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
import numpy.ma  # noqa: F401, numba asks for it in the first call, and a fork may come just then
from llvmlite.binding import ffi
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import CompilingCounter
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target
from numba.core.typing.context import CallStack

inner = partial(
    numba.njit, no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False
)
"""Decorator of functions that only kernels call: no entry from Python, no counted references.

Without these a kernel of many small functions takes a fifth longer to compile.
"""

_lock = threading.RLock()
_begun: list[Any] = []  # what is being compiled just now, under the lock
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
                _begun.append(element)
                try:
                    program = self._programs.get(element) or self._compile(element)
                finally:
                    _begun.pop()
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


def _anew() -> None:
    """In a forked child the thread that was compiling does not exist; give up what it had begun."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    if _begun:
        _begun.clear()
        global_compiler_lock._lock = threading.RLock()
        cpu_target.typing_context.callstack = CallStack()
        for counter in [c for c in gc.get_objects() if type(c) is CompilingCounter]:
            counter.counter = 0


def _done(then: Callable[[], None] = lambda: None) -> None:
    """After a fork: LLVM may go on."""
    _llvm.__exit__()
    _ready.release()
    then()


def _wait() -> None:
    """Before a fork: no thread is inside LLVM, nor still setting the compiler up."""
    _ready.acquire()
    _llvm.__enter__()


_ready = threading.Lock()
_llvm = ffi.lib._lock  # held by every call of LLVM; there is no public way to wait for them
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_wait, after_in_parent=_done, after_in_child=partial(_done, then=_anew)
    )
with _ready:  # what the compiler knows is loaded now: a fork must not find a half of it
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
