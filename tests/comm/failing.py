"""Ranks that fail in the middle of a call, and what the others say and when.

Each case has a group of its own, since a group in which a rank failed is of no use any more.
"""

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist

import trilby
from trilby.card import Mixer

TIME = 3.0
"""Seconds that a group waits."""
STALL = 5.0
FAULTY, LAST = 1, 2
KILLED = 3, 4
"""The ranks that are killed: one on the way there, one on the way back."""

Case = Callable[[Any, int], None]
X = torch.ones(1, 2, 2, dtype=torch.float64)


def _call(group: Any, faulty: int, does: Callable[[], object], mixer: Any = trilby.mean) -> Any:
    """A call in which the faulty rank does something else before its own piece."""
    local = Mixer.local

    def stopped(self: Any, *given: Any, **how: Any) -> Any:
        if dist.get_rank() == faulty:
            does()
        return local(self, *given, **how)

    with mock.patch.object(Mixer, "local", stopped):
        x = X.clone().requires_grad_()
        return mixer.shard(*((x, 0.5) if mixer is trilby.ema else (x,)), group=group)


def _raise() -> None:
    raise MemoryError("no more of it")


def _stall() -> None:
    time.sleep(STALL)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raises(group: Any, faulty: int) -> None:
    """An error after the ranks have agreed."""
    _call(group, faulty, _raise)


def stalls(group: Any, faulty: int) -> None:
    """A rank that takes longer than the group waits."""
    _call(group, faulty, _stall)


def comes_late(group: Any, faulty: int) -> None:
    """A rank that makes its call when the others have given up."""
    if dist.get_rank() == faulty:
        _stall()
    trilby.mean.shard(X, group=group)


def dies(group: Any, faulty: int) -> None:
    """A rank that is killed in the call."""
    _call(group, faulty, _die)


def stalls_backward(group: Any, faulty: int) -> None:
    """A rank that takes longer than the group waits, on the way back."""
    _back(group, faulty, _stall)


def raises_backward(group: Any, faulty: int) -> None:
    """An error in a layer behind, on the way back: the rank does not reach the exchange."""
    _back(group, faulty, _raise)


def dies_backward(group: Any, faulty: int) -> None:
    """A rank that is killed on the way back."""
    _back(group, faulty, _die)


def _back(group: Any, faulty: int, does: Callable[[], object]) -> None:
    y, _ = trilby.mean.shard(X.clone().requires_grad_(), group=group)
    y.register_hook(lambda _: does() if dist.get_rank() == faulty else None)
    y.sum().backward()


CASES: dict[str, tuple[Case, int]] = {
    case.__name__: (case, faulty)
    for case, faulty in (
        (raises, LAST), (stalls, LAST), (comes_late, FAULTY), (stalls_backward, FAULTY),
        (raises_backward, FAULTY), (dies, KILLED[1]), (dies_backward, KILLED[0]),
    )
}  # fmt: skip
"""Name -> a case, and the rank that fails: one that all others wait for."""


def all_cases() -> dict[str, tuple[str, float]]:
    """Case -> what this rank says, and after how many seconds."""
    three, short = [0, 1, 2], timedelta(seconds=TIME)
    later = timedelta(seconds=120)
    of = {"dies": [*three, *KILLED], "dies_backward": [*three, KILLED[0]]}
    groups = {name: dist.new_group(of.get(name, three), timeout=short) for name in CASES}
    lines = {name: dist.new_group(of.get(name, three), timeout=later) for name in CASES}
    found = {}
    for name, (case, faulty) in CASES.items():
        if dist.get_rank() not in of.get(name, three):
            continue
        dist.barrier(lines[name])  # all begin at once
        began, said = time.monotonic(), ""
        try:
            case(groups[name], faulty)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        found[name] = said, time.monotonic() - began
    return found
