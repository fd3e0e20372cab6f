"""How work is cut for threads, and launched on them: on torch's own, or else on a pool.

Imports no compiler before the first launch. Two Python threads may launch a kernel at once, and a
process may fork. The thread layers of numba would abort the process in the first case
(`workqueue`) or in the second (GNU OpenMP).
"""

import ctypes
import os
import threading
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from itertools import chain, pairwise
from typing import Any

import torch

from . import team

PIECES = 4  # parts for each thread, if there is enough work
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def count() -> int:
    """How many threads a kernel may use: as many as torch, see `torch.set_num_threads`.

    >>> count() == torch.get_num_threads()
    True
    """
    return torch.get_num_threads()


def spread(
    program: Any,
    told: Sequence[int],
    rows: Sequence[Sequence[int]],
    wanted: int,
    scratch: tuple[int, int] = (0, 0),
    alive: Any = None,
) -> None:
    """Run a program on every row, on at most `wanted` threads, and return when all is done.

    The caller reads `count()` once, cuts the work for that many threads and passes the number on.

    Each thread, also the calling one, takes the next row that is left. So a thread that is late
    costs little. An interrupt (Ctrl-C) is raised when the whole launch has ended.

    Args:
        program: of `Kernel.of`, with the arguments that `loop.arguments` describes.
        told: numbers that are the same for all parts.
        rows: numbers for each part, as many in each.
        wanted: how many threads may take part.
        scratch: the address of scratch memory, and how many bytes of it each thread has.
        alive: what owns the memory that the program uses. A thread of the pool holds it.
    """
    wanted = max(1, min(len(rows), wanted))
    head = (0, 0, len(rows), wanted, program.address, 8 * len(told), 8 * len(rows[0]))
    table = array("q", (*head, *scratch, *told, *chain.from_iterable(rows)))
    address, _ = table.buffer_info()
    loop, run = _loop()
    if wanted < 2:
        run(address)
    elif team.there():
        team.run(loop, address)
    else:
        pooled(run, address, wanted - 1, (table, alive))


def pooled(run: Callable[[int], None], table: int, others: int, alive: Any) -> None:
    """Call `run` with the address of a table on so many threads of the pool, and on this one.

    It returns, or raises an interrupt, when all of them have ended. An interrupt may come at the
    one moment when a thread has begun and is not known here yet. So each thread holds `alive`
    until its call has ended, and none writes into memory that was freed.
    """
    begun: list[Future[None]] = []
    try:
        pool = _threads()
        begun.extend(pool.submit(_hold, run, table, alive) for _ in range(others))
        run(table)
    finally:
        _ended([other for other in begun if not other.cancel()])


def _ended(others: list[Future[None]]) -> None:
    """Wait for all, also after an interrupt."""
    try:
        wait(others)
    except BaseException:
        _ended(others)
        raise


@cache
def _loop() -> tuple[int, Any]:
    """The address of the compiled loop, and a function of Python that calls it.

    The function takes the address of a table and releases the lock of the interpreter.
    """
    from .loop import program  # imports the compiler

    address = program().address
    return address, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)


def _hold(run: Callable[[int], None], table: int, _alive: Any) -> None:
    run(table)


def pieces(threads: int, work: int, enough: int) -> int:
    """How many parts to cut work into: several for each thread, if there is enough work.

    >>> pieces(2, 1000, 100), pieces(2, 50, 100), pieces(1, 1000, 100)
    (8, 2, 1)
    """
    return threads * (PIECES if threads > 1 and work >= enough else 1)


def shares(length: int, parts: int, grain: int = 1) -> list[tuple[int, int]]:
    """Cut `0..length` into at most `parts` even ranges, inner borders at multiples of `grain`.

    >>> shares(10, 2, grain=4)
    [(0, 8), (8, 10)]
    >>> shares(3, 8)
    [(0, 1), (1, 2), (2, 3)]
    """
    grains = -(-length // grain)
    parts = max(1, min(parts, grains))
    borders = [grain * -(-grains * i // parts) for i in range(parts)] + [length]
    return list(pairwise(borders))


def grid(
    rows: int, columns: int, threads: int, pieces: int, grain: int = 1
) -> list[tuple[int, int, int, int]]:
    """(r0, r1, c0, c1) of each piece: whole rows where there are enough of them for each thread.

    >>> grid(8, 4, threads=2, pieces=2), grid(1, 4, threads=2, pieces=8)
    ([(0, 4, 0, 4), (4, 8, 0, 4)], [(0, 1, 0, 2), (0, 1, 2, 4)])
    """
    whole = shares(rows, pieces)
    return [(*r, *c) for r in whole for c in shares(columns, threads // len(whole), grain)]


def _threads() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603
    with _lock:
        if _pool is None:  # its threads start one by one, when work waits and none is idle
            _pool = ThreadPoolExecutor(os.cpu_count() or 1, "trilby-kernel")
        return _pool


def _forget() -> None:
    """In a forked child the threads of the parent do not exist, and its lock may be held."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
