"""Threads for kernels that release the lock of the interpreter. Imports no compiler.

They are torch's own threads where these can be reached, else a pool. Two Python threads may launch
a kernel at once, and a process may fork. The thread layers of numba would abort the process in the
first case (`workqueue`) or in the second (GNU OpenMP).
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import pairwise

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


def spread(parts: Sequence[Callable[[], None]], wanted: int) -> None:
    """Run all parts, at most `wanted` at a time, and return when every one has ended.

    The caller reads `count()` once, cuts the work for that many threads and passes the number on.

    Each thread, also the calling one, takes the next part that has not begun. So a thread that is
    late costs little.

    After an interrupt or an error no part is left running, so no thread writes into memory that the
    caller is about to free.

    >>> done = []
    >>> spread([lambda: done.append(1), lambda: done.append(2)], wanted=2)
    >>> sorted(done)
    [1, 2]
    """
    wanted = max(1, min(len(parts), wanted))
    queue, seats = deque(parts), deque(range(wanted))

    def work() -> None:
        try:
            seats.pop()
        except IndexError:  # torch has more threads than are wanted
            return
        try:
            while queue:
                try:
                    part = queue.popleft()
                except IndexError:  # another thread was faster
                    return
                part()
        except BaseException:
            queue.clear()
            raise

    if wanted < 2:
        work()
    elif team.there():
        team.run(work)
    else:
        _pooled(work, wanted)


def _pooled(work: Callable[[], None], wanted: int) -> None:
    """Run `work` on this many threads: the calling one, and others of the pool."""
    others: list[Future[None]] = []
    try:
        pool = _threads()
        others.extend(pool.submit(work) for _ in range(wanted - 1))
        work()
        for other in others:
            if not other.cancel():
                other.result()
    except BaseException:
        for other in others:
            other.cancel()
        wait(others)
        raise


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
