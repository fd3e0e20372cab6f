"""torch's own threads, to run parts of a kernel on. Imports no compiler.

torch computes on a team of threads of GNU OpenMP. After each operation they keep their processors
busy for some milliseconds while they wait for the next. Other threads would share the processors
with them; a part that runs on the team itself begins at once.

A kernel always uses the whole team. If it asked for fewer threads, GNU OpenMP would end the others,
and torch would have to start them again.

A forked child has only the thread that forked. It would wait for the team of its parent for ever,
in torch's operations as well. So the team is ended before a fork, and parent and child each start a
new one when they need it.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ...errors import CallError

_MAPS = Path("/proc/self/maps")  # the files that this process has in memory
_HARD = 2  # omp_pause_hard: threads end, memory is given back


class Team(NamedTuple):
    """torch's team of threads, or why kernels have a pool of their own.

    Attributes:
        library: the GNU OpenMP that torch uses; None: kernels run on a pool.
        why: the file of the library, or the reason for the pool.
    """

    library: Any
    why: str


def there() -> bool:
    """Whether torch's team of threads can be used."""
    return found().library is not None


def run(function: int, table: int) -> None:
    """Call a compiled function on every thread of the team at once, also on the calling thread.

    Python handles an interrupt when all threads have returned.

    Args:
        function: the address of a function in C that takes an address and returns nothing.
        table: the address that it is given.
    """
    found().library.GOMP_parallel(function, table, 0, 0)  # 0: the team as it is


@contextmanager
def single() -> Iterator[None]:
    """A context in which torch computes on the calling thread alone.

    Other threads are not changed. Where torch's team cannot be reached, `torch.set_num_threads`
    does it, which changes other threads too.
    """
    library, threads = _library().library, torch.get_num_threads()
    if library is None:
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
        return
    of_products = getattr(library, "MKL_Set_Num_Threads_Local", lambda _: 0)
    products = of_products(1)
    library.omp_set_num_threads(1)
    try:
        yield
    finally:
        library.omp_set_num_threads(threads)
        of_products(products)


@cache
def found() -> Team:
    """The team, looked up once. From then on it is ended before every fork.

    Raises:
        CallError: `TRILBY_THREADS` is set, and not to "pool".
    """
    chosen = os.environ.get("TRILBY_THREADS", "")
    if chosen == "pool":
        return Team(None, "TRILBY_THREADS=pool")
    if chosen:
        raise CallError(
            f"kernels: TRILBY_THREADS is {chosen!r}, expected pool, or nothing for the threads "
            "of torch; set it before Python starts"
        )
    team = _library()
    if team.library is not None and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lambda: team.library.omp_pause_resource_all(_HARD))
    return team


@cache
def _library() -> Team:
    """The OpenMP that torch uses; the process may have loaded others.

    It is the one that torch was linked to, unless another was made visible to the whole process
    before (by LD_PRELOAD, or by a package that loads its own like that): then torch uses that one.
    """
    try:
        library = ctypes.CDLL(torch._C.__file__)  # it sees what torch was linked to
        entry = library.GOMP_parallel
    except (OSError, AttributeError):
        return Team(None, "torch is not built on GNU OpenMP here")
    everywhere = ctypes.CDLL(None)  # it sees what is visible to the whole process
    if not _of_torch(library) and hasattr(everywhere, "GOMP_parallel"):
        library, entry = everywhere, everywhere.GOMP_parallel
    if not hasattr(library, "omp_pause_resource_all"):
        return Team(None, "torch's OpenMP is too old: it cannot be dismissed before a fork")
    path = _file(ctypes.cast(entry, ctypes.c_void_p).value or 0)
    if not Path(path).name.startswith("libgomp"):
        return Team(None, f"torch's OpenMP is not the one of GNU ({path or 'no /proc'})")
    if not _of_torch(library):
        return Team(None, f"torch computes on another OpenMP than {path}")
    address, number = ctypes.c_void_p, ctypes.c_uint
    entry.argtypes, entry.restype = [address, address, number, number], None
    return Team(library, path)


def _of_torch(library: Any) -> bool:
    """Whether torch uses this copy: torch sees a number of threads that is set there."""
    theirs, mine = torch.get_num_threads(), library.omp_get_max_threads()
    library.omp_set_num_threads(theirs + 1)
    try:
        return torch.get_num_threads() == theirs + 1
    finally:
        library.omp_set_num_threads(mine)


def _file(address: int) -> str:
    """The file that is mapped at an address; empty if the system does not say."""
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        start, _, end = line.split()[0].partition("-")
        if int(start, 16) <= address < int(end, 16):
            return line.split(maxsplit=5)[5] if len(line.split()) > 5 else ""
    return ""
