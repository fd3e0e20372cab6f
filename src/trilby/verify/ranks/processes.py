"""Processes of one group: started when they are needed, ended in any case, and never waited for."""

import pickle
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Self

from ...errors import CallError, KernelError
from .child import Place, serve
from .sending import packed

PATIENCE = 60.0  # seconds of one call
LONG = 600.0  # of a mixer, whose kernels compile in this time
START = 120.0  # seconds in which processes import torch and meet
FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')
INNER = re.compile(r"/(torch|multiprocessing|trilby/verify)/|/(threading|pickle|runpy)\.py$|^<")


@dataclass(frozen=True)
class Answer:
    """What became of a call on one rank.

    Attributes:
        rank: which one.
        outcome: "returns", "raises", "ends" (the process does) or "waits" (too long).
        value: what it returned.
        error: the type of what it raised.
        told: what it raised, how the process ended, or where it stands.
    """

    rank: int
    outcome: str
    value: Any = None
    error: str = ""
    told: str = ""


class Processes:
    """As many processes as a group has ranks.

    Args:
        world: how many.
        patience: seconds after which a call is given up; None: `PATIENCE`.

    Used as a context: at its end, and after an interrupt, no process is left.
    """

    def __init__(self, world: int, patience: float | None = None) -> None:
        self.world, self.patience = world, PATIENCE if patience is None else patience
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._started: list[tuple[Any, Connection]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self, name: str, *things: Any) -> None:
        """Start them, if these things can be sent to them; `name` is what an error calls them.

        Raises:
            CallError: another process cannot import one of them, or no process starts.
            KernelError: there is no gloo.
        """
        packed(things, name)
        if not self._started:
            self._start()

    def ask(self, name: str, function: Callable[..., Any], *arguments: Any) -> list[Answer]:
        """What `function(here, *arguments)` becomes on each rank; `name` is what an error calls it.

        After a rank that has ended or waits for too long, all are ended; the next call starts
        others.

        Raises:
            CallError: what is sent cannot be imported by another process, or they cannot start.
        """
        data = packed((function, *arguments), name)
        if not self._started:
            self._start()
        for _, pipe in self._started:
            pipe.send_bytes(data)
        found = self._answers(self.patience + 1.0)
        if any(one.outcome in ("ends", "waits") for one in found):
            self.end()
        return found

    def end(self) -> None:
        """End all of them; the next call starts others."""
        for process, pipe in self._started:
            process.kill()
            pipe.close()
        for process, _ in self._started:
            process.join()
        self._started = []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self) -> None:
        import torch.distributed as dist
        from torch.multiprocessing import get_context

        if not dist.is_available() or not dist.is_gloo_available():
            raise KernelError(
                "check: torch.distributed has no gloo here, so no processes can share a sequence; "
                "take a build of torch with gloo"
            )
        context = get_context("spawn")
        self._folder = tempfile.TemporaryDirectory()
        for rank in range(self.world):
            here, there = context.Pipe()
            place = Place(rank, self.world, self._folder.name, self.patience)
            process = context.Process(target=serve, args=(place, there), daemon=True)
            self._started.append((process, here))
            process.start()
            there.close()
        late = [one for one in self._answers(START) if one.outcome != "returns"]
        if late:
            self.end()
            raise CallError(
                f"check: the process of rank {late[0].rank} did not start, it {late[0].told}; a "
                'program that calls check with world= needs `if __name__ == "__main__":` around it'
            )

    def _answers(self, seconds: float) -> list[Answer]:
        """One for each rank, within so many seconds."""
        found: dict[int, Answer] = {}
        stop = time.monotonic() + seconds
        ranks = {pipe: rank for rank, (_, pipe) in enumerate(self._started)}
        while len(found) < self.world and not _over(found):
            left = [pipe for pipe, rank in ranks.items() if rank not in found]
            ready = wait(left, max(0.0, stop - time.monotonic()))
            for pipe in ready:
                assert isinstance(pipe, Connection)
                found[ranks[pipe]] = self._answer(ranks[pipe], pipe)
            if not ready:
                break
            if any(one.outcome == "raises" for one in found.values()):  # the others may miss it
                stop = min(stop, time.monotonic() + self.patience / 6)
        for rank in set(range(self.world)) - found.keys():
            found[rank] = Answer(rank, "waits", told=self._stands(rank))
        return [found[rank] for rank in range(self.world)]

    def _answer(self, rank: int, pipe: Connection) -> Answer:
        try:
            data = pipe.recv_bytes()
        except (EOFError, OSError):
            process = self._started[rank][0]
            process.join(5)
            return Answer(rank, "ends", told=_ended(process.exitcode))
        outcome: str
        outcome, value = pickle.loads(data) if data else ("returns", ("", ""))
        if outcome == "returns":
            return Answer(rank, outcome, value)
        return Answer(rank, outcome, error=value[0], told=value[1])

    def _stands(self, rank: int) -> str:
        assert self._folder is not None
        trace = Place(rank, self.world, self._folder.name, self.patience).trace
        return standing(trace.read_text() if trace.exists() else "")


def _over(found: dict[int, Answer]) -> bool:
    """Whether nothing more is worth waiting for: a rank has ended, and the others miss it."""
    return any(one.outcome == "ends" for one in found.values())


def _ended(code: int | None) -> str:
    return f"was killed by signal {-code}" if code and code < 0 else f"ended with exit code {code}"


def standing(trace: str) -> str:
    """Where a process stands, from what `faulthandler` wrote of its main thread.

    >>> standing('''  File "/x/torch/distributed/c10d.py", line 9 in all_gather
    ...   File "/x/mine.py", line 3 in total''')
    'waits in all_gather, called at mine.py:3 in total'
    """
    main = trace.rpartition("most recent call first")[2]
    frames: Sequence[tuple[str, str, str]] = FRAME.findall(main)
    own = next((i for i, (file, _, _) in enumerate(frames) if not INNER.search(file)), None)
    if own is None:
        return "does not answer"
    file, row, name = frames[own]
    called = [inner for _, _, inner in frames[:own] if inner not in ("wrapper", "wait")]
    what = f"waits in {called[-1]}, called" if called else "is"
    return f"{what} at {Path(file).name}:{row} in {name}"
