"""Compile a kernel once for each element type, and keep it on disk where that is possible.

One thread compiles at a time. What happens at a fork is in `fork.py`.
"""

import logging
import re
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core.errors import NumbaError

from ...errors import KernelError
from . import fork
from .notice import notice
from .whole import pipeline

_MACHINE = Path(__file__).parent  # nothing here is compiled into a kernel
_PACKAGE = Path(__file__).parents[2]
_IMPORT = re.compile(r"^ *from (\.+|trilby\.)([\w.]*) import (\([^)]*\)|.*)$", re.MULTILINE)
"""Import lines. Parsing the files instead would make the first call up to 50 ms longer."""

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
"""Of functions that C calls: they cannot raise, and have no counted references."""

INNER: dict[str, Any] = dict(_OPTIONS, pipeline_class=pipeline())
"""Of functions that only kernels call, `overload` included."""

inner = partial(numba.njit, no_cpython_wrapper=True, no_cfunc_wrapper=True, **INNER)
"""Decorator of functions that only kernels call: no entry from Python, no counted references.

Without these a kernel of many small functions takes a fifth longer to compile.
"""

_log = logging.getLogger("trilby")


class Kernel:
    """A function that numba compiles, one machine program for each element type.

    Args:
        source: the Python function; it must not allocate and not call Python.
        signature: element type -> the numba types of its arguments.
    """

    def __init__(self, source: Callable[..., None], signature: Callable[[Any], tuple[Any, ...]]):
        # Before numba takes a program from disk it checks the file of the function, but not the
        # files of the functions that it calls. So the fingerprint of all is part of the name.
        self._name = source.__qualname__
        self._fingerprint = f"{fingerprint(Path(source.__code__.co_filename)):08x}"
        source.__qualname__ += f".{self._fingerprint}"
        self._source = source
        self._signature = signature
        self._programs: dict[Any, Any] = {}

    def of(self, element: Any) -> Any:
        """The program for one element type; compiled, or loaded from disk, at the first call.

        It is a function of C: `program.address` says where, and `program.ctypes` calls it without
        the lock of the interpreter.
        """
        program = self._programs.get(element)
        if program is None:
            with fork.compiling(element):
                program = self._programs.get(element) or self._compile(element)
                self._programs[element] = program
        return program

    def _compile(self, element: Any) -> Any:
        if getattr(numba.config, "DISABLE_JIT", 0):
            raise KernelError(
                f"{self._name}: numba.config.DISABLE_JIT is set, so numba compiles nothing: "
                "unset it before the first call, or take another form than fused"
            )
        try:
            folder = str(numba.njit(cache=True)(self._source).stats.cache_path)
            with notice(self._source.__module__, element, folder):
                signature = types.void(*self._signature(element))
                program = numba.cfunc(signature, cache=True, **_OPTIONS)(self._source)
        except NumbaError:
            raise  # a fault in the kernel, not in the cache
        except Exception as problem:  # read-only, full, missing, or a damaged file: many types
            _log.warning(
                "trilby: kernel cache not usable (%s: %s); compiling for this process only; "
                "set NUMBA_CACHE_DIR to a folder that can be written",
                type(problem).__name__,
                " ".join(str(problem).split()),
            )
            signature = types.void(*self._signature(element))
            program = numba.cfunc(signature, **_OPTIONS)(self._source)
        else:
            if not program.cache_hits:
                self._remove_old(Path(folder))
        return program

    def _remove_old(self, folder: Path) -> None:
        """Remove the programs of this kernel that were compiled from earlier text."""
        module = Path(self._source.__code__.co_filename).stem
        for old in folder.glob(f"{module}.{self._name}.????????-*.nb[ic]"):
            if f".{self._fingerprint}-" not in old.name:
                try:
                    old.unlink()
                except OSError:  # another process removed it, or it is in use on Windows
                    _log.debug("trilby: an old program could not be removed: %s", old)


@cache
def fingerprint(path: Path) -> int:
    """A number that changes whenever a file that a kernel is compiled from does.

    These are `files(path)`, and this file and `whole.py`, which say how they are compiled.
    """
    found = 0
    for file in sorted({*files(path), Path(__file__), _MACHINE / "whole.py"}):
        found = zlib.crc32(file.read_bytes(), found) if file.is_file() else found
    return found


def files(path: Path) -> set[Path]:
    """A file and all files that it reaches by relative imports and by imports from trilby.

    The files in the folder of this one are left out: they run kernels, and are not compiled into
    them.

    >>> sorted(file.name for file in files(Path(fork.__file__).parent / "limits.py"))
    ['limits.py']
    """
    found, left = set[Path](), [path]
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            left += [f for f in _imported(file) if _MACHINE not in f.parents]
    return found


@cache
def _imported(path: Path) -> list[Path]:
    """The files of the modules, and of the packages, that its imports name."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""  # not if it is in an archive
    found = []
    for dots, module, names in _IMPORT.findall(text):
        start = _PACKAGE if dots == "trilby." else path.parents[len(dots) - 1]
        base = start.joinpath(*module.split("."))
        for place in (base, *(base / name for name in re.findall(r"\w+", names))):
            found += [f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()]
    return found
