"""Nothing deadlocks: all ranks make the same exchanges in the same order, whatever their sizes."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch.distributed as dist

from tests.comm.cases import OPTIONS, SPLITS, Case, drawn, piece
from trilby.mixers import MIXERS

Log = list[tuple[Any, ...]]
CALLS = ("all_gather", "broadcast", "reduce")


def _recorded(case: Case) -> Log:
    """What this rank gives to torch.distributed in a call and on the way back, in order.

    Of a call of all ranks its name and its size; of a message between two "isend" or "irecv", the
    other rank, how many calls of all ranks were before it, and its size.
    """
    log: Log = []
    batch = dist.batch_isend_irecv

    def of_all(name: str) -> Any:
        original = getattr(dist, name)

        def call(one: Any, *given: Any, **how: Any) -> Any:
            like = one[0] if isinstance(one, list) else one
            log.append((name, like.numel() * like.element_size()))
            return original(one, *given, **how)

        return mock.patch.object(dist, name, call)

    def of_two(work: Any) -> Any:
        before = sum(one[0] in CALLS for one in log)
        log.extend((one.op.__name__, one.peer, before, one.tensor.numel()) for one in work)
        return batch(work)

    with ExitStack() as stack:
        for name in CALLS:
            stack.enter_context(of_all(name))
        stack.enter_context(mock.patch.object(dist, "batch_isend_irecv", of_two))
        piece(drawn(case), case.split)
    return log


def out_of_order(few: bool = False) -> Iterator[str]:
    """Where ranks do not make the same calls of all, or one sends what another does not wait for.

    The splits are even, uneven and with empty pieces; a few of them are three.
    """
    size, rank = dist.get_world_size(), dist.get_rank()
    for name in MIXERS:
        for split in SPLITS[size][: 3 if few else None]:
            case = Case(name, split, True, True, OPTIONS.get(name, ({},))[0])
            logs: list[Any] = [None] * size
            dist.all_gather_object(logs, _recorded(case))
            own, first = ([one for one in log if one[0] in CALLS] for log in (logs[rank], logs[0]))
            if own != first or not (own or size == 1):
                yield f"{case}: rank {rank} takes part in {own}, rank 0 in {first}"
            for other in range(size):
                given = _between(logs[rank], "isend", other)
                due = _between(logs[other], "irecv", rank)
                if given != due:
                    yield f"{case}: rank {rank} sends {given} to {other}, which waits for {due}"


def _between(log: Log, op: str, other: int) -> Log:
    """The messages to one rank, or from it."""
    return [one[2:] for one in log if one[:2] == (op, other)]
