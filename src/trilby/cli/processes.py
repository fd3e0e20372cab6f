"""A command that `torchrun` started on several processes: what they tell each other."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch

from ..comm.ranks import Ranks
from ..errors import FileError, FormError, RankError, TrilbyError

R = TypeVar("R")

WAIT = timedelta(minutes=5)
"""How long a process waits for what another one says; a round of a file takes far less."""


@contextmanager
def processes(command: str) -> Iterator["Processes | None"]:
    """The processes of this run; None if this one was started alone.

    Raises:
        FormError: the variables of torchrun are not all there.
        RankError: another process has ended before this one.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if size in ("", "1"):
        yield None
        return
    import torch.distributed as dist

    if dist.is_initialized():
        yield Processes(command)
        return
    try:
        dist.init_process_group("gloo", timeout=WAIT)
    except ValueError as error:
        raise FormError(
            f"{command}: WORLD_SIZE is {size}, and the other processes are not known "
            f"({' '.join(str(error).split())}); start it with torchrun, or unset WORLD_SIZE"
        ) from error
    try:
        yield Processes(command)
    except KeyboardInterrupt:
        if dist.get_rank():
            sys.exit(130)  # the first one says it
        raise
    except RuntimeError as error:
        if isinstance(error, TrilbyError) or "gloo" not in str(error):
            raise
        raise RankError(
            f"{command}: rank {dist.get_rank()} lost another process, which has ended or does not "
            "answer; nothing was written, run the command again"
        ) from error
    finally:
        dist.destroy_process_group()


class Processes:
    """The processes that share one run of a command.

    Attributes:
        rank: which one this is; the first one speaks for all.
        size: how many there are.
    """

    def __init__(self, command: str) -> None:
        self.command, self.ranks = command, Ranks(command)
        self.rank, self.size = self.ranks.rank, self.ranks.size

    def agreed(self, work: Callable[[], tuple[R, Sequence[int]]]) -> tuple[R, list[list[int]]]:
        """As `files.share.Share.agreed`: work, and then hear how all of them fared.

        Raises:
            FileError: in the first process, where the work of any of them failed.
            SystemExit: in the others then, as one of them has said why.
        """
        found: tuple[R, Sequence[int]] | None = None
        fault: TrilbyError | None = None
        try:
            found = work()
        except TrilbyError as error:
            fault = error
        said = [[*map(int, found[1])] if found else [], str(fault or "")]
        told = [json.loads(one) for one in self._gathered(json.dumps(said).encode())]
        whole = next((error for _, error in told if error), "")
        if found is None or whole:
            if self.rank:
                sys.exit(2)
            raise FileError(f"{self.command}: {fault or whole}") from fault
        return found[0], [numbers for numbers, _ in told]

    def _gathered(self, text: bytes) -> list[bytes]:
        """What each process says, of any length."""
        most = int(self.ranks.gathered(torch.tensor(len(text))).max())
        message = torch.frombuffer(bytearray(text.ljust(most)), dtype=torch.uint8)
        return [bytes(one) for one in self.ranks.gathered(message).tolist()]
