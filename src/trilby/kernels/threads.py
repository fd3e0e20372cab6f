"""A few threads for kernels that release the lock of the interpreter. Imports no compiler.

Two Python threads may launch at once, and a forked child starts a pool of its own: numba's own
thread layers abort the process in the first case (`workqueue`) or in the second (GNU OpenMP).
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import pairwise

import torch

_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def count() -> int:
    """How many threads a kernel may use: as many as torch may, `torch.set_num_threads` sets both.

    >>> count() == torch.get_num_threads()
    True
    """
    return torch.get_num_threads()


def spread(parts: Sequence[Callable[[], None]]) -> None:
    """Run all parts, the first on the calling thread, and return when every one has ended.

    After an interrupt or an error no part is left running: nobody writes into memory that the
    caller is about to give up.

    >>> done = []
    >>> spread([lambda: done.append(1), lambda: done.append(2)])
    >>> sorted(done)
    [1, 2]
    """
    others: list[Future[None]] = []
    try:
        if len(parts) > 1:
            pool = _threads()
            others.extend(pool.submit(part) for part in parts[1:])
        if parts:
            parts[0]()
        for other in others:
            other.result()
    except BaseException:
        for other in others:
            other.cancel()
        wait(others)
        raise


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
