"""How work is cut for threads, and a pool of them where torch's own cannot be reached.

Imports no compiler. Two Python threads may launch a kernel at once, and a process may fork. The
thread layers of numba would abort the process in the first case (`workqueue`) or in the second
(GNU OpenMP).
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import pairwise
from typing import Any

import torch

PIECES = 4  # parts for each thread, if there is enough work
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def count() -> int:
    """How many threads a kernel may use: as many as torch, see `torch.set_num_threads`.

    >>> count() == torch.get_num_threads()
    True
    """
    return torch.get_num_threads()


def pooled(run: Callable[[int], None], table: int, others: int, alive: Any) -> None:
    """Call `run` with the address of a table on so many threads of the pool, and on this one.

    Each thread of the pool holds `alive` until its call has ended. So none of them writes into
    memory that was freed, even if an interrupt comes while this thread waits for them.
    """
    begun: list[Future[None]] = []
    try:
        pool = _threads()
        begun.extend(pool.submit(_hold, run, table, alive) for _ in range(others))
        run(table)
    finally:
        wait([other for other in begun if not other.cancel()])


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
