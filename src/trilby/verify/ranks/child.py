"""What a started process does: it joins the group, and runs what it is sent until it is ended."""

import faulthandler
import os
import pickle
import signal
import socket
import sys
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..wording import first_line
from .sending import unpacked

LOOPBACK = ("lo", "lo0")


class Place(NamedTuple):
    """Where a process stands in its group.

    Attributes:
        rank: which one it is.
        world: how many there are.
        folder: where they meet.
        patience: seconds after which a call is not waited for.
    """

    rank: int
    world: int
    folder: str
    patience: float

    @property
    def trace(self) -> Path:
        """The file that says where this rank stands when it is not waited for any longer."""
        return Path(self.folder) / f"stands{self.rank}"


class Here(NamedTuple):
    """What a function that is sent gets first: its rank, and the groups of the first n ranks."""

    rank: int
    groups: dict[int, Any]


def serve(place: Place, pipe: Connection) -> None:
    """Join the group, then run what comes: (function, arguments) as `packed` makes them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends this one
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # it is open as long as the process runs
    torch.set_num_threads(1)
    here = _joined(place)
    pipe.send_bytes(b"")
    with place.trace.open("w") as trace:
        while True:
            try:
                data = pipe.recv_bytes()
            except EOFError:  # the parent has ended
                os._exit(0)
            faulthandler.dump_traceback_later(place.patience, file=trace)
            answer = _answer(here, data)
            faulthandler.cancel_dump_traceback_later()
            pipe.send_bytes(pickle.dumps(answer))


def _answer(here: Here, data: bytes) -> tuple[str, Any]:
    try:
        function, *arguments = unpacked(data)
        return "returns", function(here, *arguments)
    except Exception as error:
        return "raises", (type(error).__name__, first_line(error))


def _joined(place: Place) -> Here:
    import torch.distributed as dist

    if "GLOO_SOCKET_IFNAME" not in os.environ:
        known = [name for _, name in socket.if_nameindex()]
        os.environ["GLOO_SOCKET_IFNAME"] = next(n for n in (*LOOPBACK, *known) if n in known)
    meet = Path(place.folder, "meet").as_uri()
    later = timedelta(seconds=2 * place.patience)  # a call is given up before, and its place told
    dist.init_process_group(
        "gloo", init_method=meet, rank=place.rank, world_size=place.world, timeout=later
    )
    groups = {n: dist.new_group([*range(n)]) for n in range(1, place.world + 1)}
    return Here(place.rank, groups)
