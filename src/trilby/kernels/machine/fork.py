"""Compile in one thread at a time, and let the process fork during a compilation.

A fork during a compilation waits until LLVM has finished its current step, which is a fraction of
the compilation. The child then drops the compilation that another thread had begun, and compiles
for itself. This needs private names of numba and llvmlite. Where one of them is missing, the fork
waits until the compilation has ended.
"""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy.ma  # noqa: F401, numba asks for it in the first call, and a fork may come just then


class Inside(NamedTuple):
    """What numba and LLVM hold while they compile.

    Attributes:
        llvm: the lock that every call of LLVM holds; there is no public way to wait for it.
        lock: numba's own lock is `lock._lock`.
        typing: what numba knows of types; `typing.callstack` lists what it is compiling.
        stack: makes an empty `callstack`.
        counter: the type of numba's counts of what is being compiled.
    """

    llvm: Any
    lock: Any
    typing: Any
    stack: Callable[[], Any]
    counter: Callable[[], Any]


_lock = threading.RLock()
_begun: list[Any] = []  # what is being compiled, protected by the lock
_ready = threading.Lock()  # held while the compiler is set up, and while the process forks
_inside: Inside | None = None


@contextmanager
def compiling(what: Any) -> Iterator[None]:
    """While this context is open, no other thread compiles a kernel."""
    with _lock:
        _begun.append(what)
        try:
            yield
        finally:
            _begun.pop()


def inside() -> Inside | None:
    """The private names, or None if one of them is missing."""
    try:
        from llvmlite.binding.ffi import lib
        from numba.core.compiler_lock import global_compiler_lock
        from numba.core.dispatcher import CompilingCounter
        from numba.core.registry import cpu_target
        from numba.core.typing.context import CallStack

        typing, target = cpu_target.typing_context, cpu_target.target_context
        found = Inside(lib._lock, global_compiler_lock, typing, CallStack, CompilingCounter)
        _ = found.lock._lock, found.typing.callstack, found.counter().counter
        _ = found.llvm.__enter__, found.llvm.__exit__
        load = typing.refresh, target.refresh
    except (ImportError, AttributeError):
        return None
    for refresh in load:  # now, so that a fork cannot come in the middle of it
        refresh()
    return found


def _wait() -> None:
    """Before a fork, wait until no thread is inside LLVM or sets the compiler up."""
    _ready.acquire()
    if _inside is None:
        _lock.acquire()
    else:
        _inside.llvm.__enter__()


def _go_on() -> None:
    """After a fork, let the other threads continue."""
    if _inside is None:
        _lock.release()
    else:
        _inside.llvm.__exit__()
    _ready.release()


def _anew() -> None:
    """In a forked child, drop the compilation of a thread that does not exist there."""
    global _lock  # noqa: PLW0603
    _go_on()
    _lock = threading.RLock()
    if _begun and _inside is not None:
        _begun.clear()
        _inside.lock._lock = threading.RLock()
        _inside.typing.callstack = _inside.stack()
        for counter in [c for c in gc.get_objects() if type(c) is _inside.counter]:
            counter.counter = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait, after_in_parent=_go_on, after_in_child=_anew)
with _ready:
    _inside = inside()
