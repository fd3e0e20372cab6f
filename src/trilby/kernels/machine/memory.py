"""Memory for large results: in huge pages where possible, and reused.

The system zeroes new memory page by page at the first write. With pages of 4 KiB this takes ten
times as long as a kernel bound by memory, with huge pages still once or twice as long. So the
memory of a large result is kept when it is freed, and reused for a result of about the same size.

- Memory is kept when its storage is freed: no tensor, view, array or capsule uses it any more.
- At most `bound()` bytes are kept; the oldest are given back first. A larger result has new memory
  each time.
- The system may take kept memory whenever it needs some (`MADV_FREE`); `release` gives it back at
  once.
- A forked child starts without kept memory.

Such a tensor differs from others in one way: its storage cannot grow. `y.resize_` to more elements
raises, as for a tensor made by `torch.from_numpy`.
"""

import _thread
import contextlib
import mmap
import os
import threading
import weakref
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...errors import CallError
from .limits import available

LARGE = 1 << 22  # bytes; smaller memory is cheap, and the allocator keeps it
HUGE = 1 << 21  # bytes of a huge page
SPARE = 4  # a block may be larger than needed by one part in so many
USUAL = 256 << 20  # the default limit, in bytes
SOON = 0.001  # seconds after which an interrupt that Python dropped is raised again


class Block(NamedTuple):
    """Mapped memory: `size` bytes from `start` on, both multiples of a huge page."""

    memory: mmap.mmap
    start: int
    size: int


class Memory(NamedTuple):
    """What `trilby.memory` returns.

    Attributes:
        limit: how many bytes are kept at most; 0: none.
        kept: how many bytes are kept now.
    """

    limit: int
    kept: int


_chosen: list[int] = []  # the limit that `memory` set, if it did
_kept: dict[int, Block] = {}  # address -> block, oldest first; each call on it is one atomic step


def empty_like(x: Tensor) -> Tensor:
    """`torch.empty_like(x)`; if x is large, in reused memory.

    >>> empty_like(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """
    if x.numel() * x.element_size() < LARGE:
        return torch.empty_like(x)
    like = torch.empty_like(x, device="meta")
    block = _block(like.untyped_storage().nbytes())
    if block is None:
        return torch.empty_like(x)
    storage = torch.from_numpy(_lent(block)).untyped_storage()
    y = torch.empty(0, dtype=x.dtype, device="cpu").set_(storage, 0, like.shape, like.stride())
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if fill and torch.are_deterministic_algorithms_enabled():
        y.fill_(torch.nan)  # as `torch.empty` does
    return y


def release() -> int:
    """Give the memory that is kept for later results back to the system.

    New memory for a large result costs more than the kernel does, so the memory of results that
    were freed is kept for the next ones, up to the limit of `trilby.memory()`. Results in use are
    not touched; their memory is kept when they are freed.

    Returns:
        the number of bytes that were given back.

    >>> _ = release()
    >>> release()
    0
    """
    return sum(block.size for address in list(_kept) if (block := _kept.pop(address, None)))


def memory(limit: int | None = None) -> Memory:
    """Get or set how much memory of freed results is kept for the next ones.

    Args:
        limit: bytes, for the whole process; 0 keeps none, and every result has new memory. A
            result larger than the limit always has new memory. None changes nothing.

    Returns:
        the limit in use, rounded down to 2 MiB, and how many bytes are kept now.

    Raises:
        CallError: a limit that is no whole number, negative, or more than this process may have.

    The default is 256 MiB, or a sixteenth of the memory of the machine or container if that is
    less. Only results of 4 MiB and more, on a CPU, use kept memory.

    >>> before = trilby.memory().limit
    >>> trilby.memory(limit=0)
    Memory(limit=0, kept=0)
    >>> trilby.memory(limit=before).limit == before
    True
    """
    if limit is not None:
        most = available()
        if type(limit) is not int or limit < 0 or (most and limit > most):
            room = f"0 to {most}" if most else "0 or more"
            raise CallError(f"memory: limit is {limit!r:.40}, expected {room} bytes")
        _chosen[:] = [limit]
        _trim()
    return Memory(bound(), kept())


def kept() -> int:
    """How many bytes are kept for later results.

    >>> 0 <= kept() <= bound()
    True
    """
    return sum(block.size for block in list(_kept.values()))


def bound() -> int:
    """How many bytes are kept at most: the limit that was set, else `usual()`.

    >>> bound() % HUGE
    0
    """
    return (_chosen[0] if _chosen else usual()) // HUGE * HUGE


@cache
def usual() -> int:
    """The default limit; looked up once."""
    return min(USUAL, available() // 16)


def _block(size: int) -> Block | None:
    """A free block of at least that size; None if torch has to allocate."""
    size = -(-size // HUGE) * HUGE
    if size > bound():
        return None
    for address in reversed(list(_kept)):  # the newest are most likely in a cache
        block = _kept.get(address)
        if block is not None and size <= block.size <= size + size // SPARE:
            block = _kept.pop(address, None)  # None: another thread was faster
            if block is not None:
                return block
    return _mapped(size)


def _mapped(size: int) -> Block | None:
    """A new block. Its pages are mapped at the first write."""
    try:
        memory = mmap.mmap(-1, size + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (
        AttributeError,
        OSError,
        ValueError,
    ):  # another system, or no memory: torch raises
        return None
    start = -np.frombuffer(memory, np.uint8).ctypes.data % HUGE
    _advise(memory, "MADV_HUGEPAGE", start, size)
    return Block(memory, start, size)


def _lent(block: Block) -> np.ndarray:
    """The block as an array; when its last reference is gone, the block is kept."""
    lent = np.frombuffer(block.memory, np.uint8, block.size, block.start)
    weakref.finalize(lent, _keep, block, lent.ctypes.data).atexit = False
    return lent


def _keep(block: Block, address: int) -> None:
    """Keep a block. It may run at any point of the program, so it takes no lock."""
    try:
        _advise(block.memory, "MADV_FREE", block.start, block.size)
        _kept[address] = block
        _trim()
    except KeyboardInterrupt:  # Python drops what is raised here, and Ctrl-C would be lost
        threading.Timer(SOON, _thread.interrupt_main).start()


def _trim() -> None:
    """Give back the oldest blocks until the limit is met."""
    for oldest in list(_kept):
        if kept() <= bound():
            break
        _kept.pop(oldest, None)


def _advise(memory: mmap.mmap, advice: str, start: int, size: int) -> None:
    """Advise the system; if it refuses, only time is lost."""
    if hasattr(mmap, advice):
        with contextlib.suppress(OSError):
            memory.madvise(getattr(mmap, advice), start, size)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.clear)
