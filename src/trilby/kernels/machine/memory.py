"""Memory for large results: in huge pages where the system gives them, and used again.

Fresh memory arrives page by page at the first write, zeroed by the system. With pages of 4 KiB that
costs ten times what a kernel bound by memory takes, with huge pages still once or twice. So the
memory of a large result is kept when the result dies, and the next one of about that size gets it.

- It comes back when the storage dies: no tensor, view, array or capsule over it is left.
- At most `bound()` bytes are kept, the oldest go first; a larger result has new memory each time.
- The system may take what is kept whenever it needs memory (`MADV_FREE`); `release` gives it
  back at once.
- A forked child starts with nothing kept.

Such a tensor is an ordinary one but for this: its storage does not grow (`y.resize_` to more
elements raises, as for a tensor made by `torch.from_numpy`).
"""

import contextlib
import mmap
import os
import weakref
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...errors import CallError
from .limits import available

LARGE = 1 << 22  # bytes; below, fresh memory costs little and the allocator keeps it by itself
HUGE = 1 << 21  # bytes of a huge page
SPARE = 4  # a block may be larger than what is asked for by one part in so many
USUAL = 256 << 20  # bytes that are kept at most, where nobody said otherwise


class Block(NamedTuple):
    """Memory of ours: `size` bytes of `memory` from `start` on, both multiples of a huge page."""

    memory: mmap.mmap
    start: int
    size: int


class Memory(NamedTuple):
    """What `trilby.memory` says.

    Attributes:
        limit: how many bytes are kept at most; 0: none are.
        kept: how many bytes are kept now.
    """

    limit: int
    kept: int


_chosen: list[int] = []  # the limit that `memory` set, if it did
_kept: dict[int, Block] = {}  # address -> block, oldest first; each call on it is one atomic step


def empty_like(x: Tensor) -> Tensor:
    """`torch.empty_like(x)`, its memory used before where x is large.

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
    """Give the memory that is kept for results to come back to the system.

    A large result needs memory, and new memory costs more than the kernel does; so what a dead
    result leaves behind is kept for the next one, as much as `trilby.memory()` says.
    Results that are alive are untouched, and their memory is kept when they die.

    Returns:
        how many bytes that were.

    >>> _ = release()
    >>> release()
    0
    """
    return sum(block.size for address in list(_kept) if (block := _kept.pop(address, None)))


def memory(limit: int | None = None) -> Memory:
    """Say, and choose, how much memory of dead results is kept for the next ones.

    Args:
        limit: bytes; 0 keeps none, and every result has new memory. A result larger than the
            limit has new memory too. None changes nothing. It holds for the whole process.

    Returns:
        the limit that is in force, rounded down to 2 MiB, and how many bytes are kept now.

    Raises:
        CallError: a limit that is no whole number, negative, or more than this process may have.

    Where nothing was chosen the limit is 256 MiB, or a sixteenth of the memory that the process
    may have (the machine's, or the container's) if that is less. Only results on a CPU of 4 MiB
    and more are concerned.

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
    """How many bytes are kept for results to come.

    >>> 0 <= kept() <= bound()
    True
    """
    return sum(block.size for block in list(_kept.values()))


def bound() -> int:
    """How many bytes are kept at most: what was chosen, else `usual()`.

    >>> bound() % HUGE
    0
    """
    return (_chosen[0] if _chosen else usual()) // HUGE * HUGE


@cache
def usual() -> int:
    """256 MiB, or a sixteenth of what this process may have; looked up once."""
    return min(USUAL, available() // 16)


def _block(size: int) -> Block | None:
    """A block of at least that size that nobody uses; None where it has to be had otherwise."""
    size = -(-size // HUGE) * HUGE
    if size > bound():
        return None
    for address in reversed(list(_kept)):  # the newest are the likeliest to be in a cache
        block = _kept.get(address)
        if block is not None and size <= block.size <= size + size // SPARE:
            block = _kept.pop(address, None)  # None: another thread was faster
            if block is not None:
                return block
    return _mapped(size)


def _mapped(size: int) -> Block | None:
    """A fresh block. Its pages come at the first write."""
    try:
        memory = mmap.mmap(-1, size + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (AttributeError, OSError, ValueError):  # another system, or no memory: torch will say
        return None
    start = -np.frombuffer(memory, np.uint8).ctypes.data % HUGE
    _advise(memory, "MADV_HUGEPAGE", start, size)
    return Block(memory, start, size)


def _lent(block: Block) -> np.ndarray:
    """The block as an array; when the last reference to it goes, the block is kept."""
    lent = np.frombuffer(block.memory, np.uint8, block.size, block.start)
    weakref.finalize(lent, _keep, block, lent.ctypes.data).atexit = False
    return lent


def _keep(block: Block, address: int) -> None:
    """Runs wherever a result dies, in the middle of anything, so it takes no lock."""
    _advise(block.memory, "MADV_FREE", block.start, block.size)
    _kept[address] = block
    _trim()


def _trim() -> None:
    """Give back the oldest, until no more is kept than may be."""
    for oldest in list(_kept):
        if kept() <= bound():
            break
        _kept.pop(oldest, None)


def _advise(memory: mmap.mmap, advice: str, start: int, size: int) -> None:
    """A refusal changes nothing but time."""
    if hasattr(mmap, advice):
        with contextlib.suppress(OSError):
            memory.madvise(getattr(mmap, advice), start, size)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.clear)
