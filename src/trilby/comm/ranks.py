"""The processes of a group, and the few ways in which they exchange tensors."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import FormError, RankError
from ..sharding import current, process_group
from .faults import Failing

Shape = tuple[tuple[int, ...], torch.dtype]
"""The sizes and the dtype of a tensor that will come."""


@dataclass
class Traffic:
    """What this process sent while `counted` was open.

    Attributes:
        messages: how many tensors were handed to `torch.distributed`.
        bytes: how large they were. What a rank gives to a gather or a sum of all ranks counts once,
            and so does what is sent to all of them.
    """

    messages: int = 0
    bytes: int = 0

    def add(self, n: int) -> None:
        """Count a message of n bytes; one without content is not sent."""
        self.messages += n > 0
        self.bytes += n


_open: list[Traffic] = []


@contextmanager
def counted() -> Iterator[Traffic]:
    """Count what this process sends to other ranks.

    >>> with counted() as traffic:
    ...     y, state = trilby.mean.shard(torch.ones(1, 2, 1))  # one process has no one to tell
    >>> traffic
    Traffic(messages=0, bytes=0)
    """
    traffic = Traffic()
    _open.append(traffic)
    try:
        yield traffic
    finally:
        _open.remove(traffic)


class Ranks:
    """The processes that share a sequence; rank r holds its r-th piece.

    Args:
        where: the call as the user knows it, quoted in errors.
        group: a group or a mesh of one dimension. None is the group of `trilby.sharded`, else all
            processes; a process that was started alone is a group of one.

    Raises:
        FormError: `torch.distributed` does not know the other processes.
        RankError: this process is not in the group.
    """

    def __init__(self, where: str, group: Any = None) -> None:
        self.where = where
        self.group = current() if group is None else process_group(where, group)
        self.rank, self.size = 0, 1
        if self.group is None and not _started(where):
            return
        self.rank, self.size = dist.get_rank(self.group), dist.get_world_size(self.group)
        if self.rank < 0:
            raise RankError(
                f"{where}: rank {dist.get_rank()} is not in the group; call it on the ranks of "
                "the group alone"
            )

    def exchanged(
        self,
        sent: Sequence[Tensor],
        to: int | None,
        shapes: Sequence[Shape],
        source: int | None,
        device: torch.device,
    ) -> list[Tensor]:
        """Send tensors to one rank and receive others from one rank, one message each.

        Without a source the result is zeros. A message without content is not sent.
        """
        packed = _packed(sent, device)
        came = torch.empty(sum(map(_size, shapes)), dtype=torch.uint8, device=device)
        work = []
        if to is not None and len(packed):
            _count(packed)
            work.append(dist.P2POp(dist.isend, packed, self._global(to), self.group))
        if source is None:
            came.zero_()
        elif len(came):
            work.append(dist.P2POp(dist.irecv, came, self._global(source), self.group))
        with self._missing(source, to):
            for request in dist.batch_isend_irecv(work) if work else ():
                request.wait()
        return _unpacked(came, shapes)

    def gathered(self, one: Tensor) -> Tensor:
        """A tensor of the same shape from every rank: [ranks, ...]."""
        every = [torch.empty_like(one) for _ in range(self.size)]
        _count(one)
        with self._missing():
            dist.all_gather(every, one.contiguous(), group=self.group)
        return torch.stack(every)

    def from_last(
        self, tensors: Sequence[Tensor], shapes: Sequence[Shape], device: torch.device
    ) -> list[Tensor]:
        """The tensors of the last rank, on every rank."""
        packed = torch.empty(sum(map(_size, shapes)), dtype=torch.uint8, device=device)
        if self.rank == self.size - 1:
            packed = _packed(tensors, device)
            _count(packed)
        if len(packed):
            with self._missing():
                dist.broadcast(packed, self._global(self.size - 1), group=self.group)
        return _unpacked(packed, shapes)

    def summed_at_last(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums over all ranks on the last one, and zeros on the others.

        Halves are added up in float32.
        """
        found = []
        for one in tensors:
            fine = torch.promote_types(one.dtype, torch.float32)
            total = one.to(fine, copy=True, memory_format=torch.contiguous_format)
            if total.numel():
                if self.rank < self.size - 1:
                    _count(total)
                with self._missing():
                    dist.reduce(total, self._global(self.size - 1), group=self.group)
            last = self.rank == self.size - 1
            found.append(total.to(one.dtype) if last else torch.zeros_like(one))
        return found

    @property
    def failing(self) -> Failing:
        """This call, for those that tell of a failure."""
        return Failing(self.where, self.group, self.rank, self.size)

    def back(self) -> "Ranks":
        """The same ranks on the way back."""
        same = copy(self)
        same.where = f"{self.where}, backward"
        return same

    @contextmanager
    def _missing(self, *others: int | None) -> Iterator[None]:
        """In place of what the backend says of a failure, which rank is the cause of it."""
        began, waited = time.monotonic(), [r for r in others if r is not None]
        try:
            yield
        except RuntimeError as error:
            raise self.failing(error, waited, time.monotonic() - began) from error

    def _global(self, rank: int) -> int:
        """What the default group calls a rank of this one."""
        return rank if self.group is None else dist.get_global_rank(self.group, rank)


def _started(where: str) -> bool:
    """Whether there are other processes; an error if they cannot be reached yet."""
    if dist.is_available() and dist.is_initialized():
        return True
    if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        raise FormError(
            f"{where}: this process is one of {os.environ['WORLD_SIZE']} and torch.distributed is "
            'not initialised; call torch.distributed.init_process_group("gloo" or "nccl") first'
        )
    return False


def _count(sent: Tensor) -> None:
    for traffic in _open:
        traffic.add(sent.numel() * sent.element_size())


def _size(shape: Shape) -> int:
    """How many bytes a tensor has."""
    sizes, dtype = shape
    return torch.Size(sizes).numel() * dtype.itemsize


def _packed(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """Tensors as bytes: [n] uint8."""
    flat = [t.detach().reshape(-1) for t in tensors]
    lying = torch.contiguous_format  # what has one number or none may have any stride
    flat = [x if x.stride(0) == 1 else x.clone(memory_format=lying) for x in flat]
    flat = [x.view(torch.uint8) for x in flat]
    return torch.cat(flat) if flat else torch.empty(0, dtype=torch.uint8, device=device)


def _unpacked(packed: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    """The inverse of `_packed`; each tensor has memory of its own."""
    parts = packed.split([_size(shape) for shape in shapes])
    return [
        part.clone().view(dtype).view(sizes)
        for part, (sizes, dtype) in zip(parts, shapes, strict=True)
    ]
