"""Tell a person at a terminal why the first call of a kernel takes seconds. Imports no compiler."""

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

PATIENCE = 1.0  # seconds of compiling before anything is said

_BITS = {
    "uint16": "bfloat16",
    "int16": "float16",
}  # numba has no such types on a CPU; kernels get their bits
_said = set[str]()  # each line is written once in a process
_process = os.getpid()


@contextlib.contextmanager
def notice(module: str, element: Any, folder: str) -> Iterator[None]:
    """Write a line to stderr if the block, which compiles a kernel, takes more than a second.

    Nothing is written if stderr is not a terminal. Forked children and workers of
    `multiprocessing` write nothing, because each of many would write the same line.

    Args:
        module: the name of the module of the kernel.
        element: its numba type, or a tuple that begins with it.
        folder: where the program is kept.
    """
    if not _terminal() or os.getpid() != _process or multiprocessing.parent_process() is not None:
        yield
        return
    line = f"trilby: compiling the kernel {_family(module)} for {_dtype(element)}, "
    line += f"once for this machine; kept in {folder}\n"
    timer = threading.Timer(PATIENCE, _say, [line])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(line: str) -> None:
    """Write with one system call. It takes no lock that a fork could find held."""
    if line not in _said:
        _said.add(line)
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile
            os.write(sys.stderr.fileno(), line.encode(errors="replace"))


def _terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _family(module: str) -> str:
    """The name of the kernel: the file, or the folder of files, below the folder `cpu`.

    >>> _family("trilby.kernels.cpu.fading_memory.forward"), _family("mine")
    ('fading_memory', 'mine')
    """
    return module.rpartition(".cpu.")[2].split(".")[0]


def _dtype(element: Any) -> str:
    """The name that torch has for the dtype.

    >>> _dtype("uint16"), _dtype(("float32", "float64"))
    ('bfloat16', 'float32')
    """
    name = str(element[0] if isinstance(element, tuple) else element)
    return _BITS.get(name, name)
