"""Start a function on several processes of one group, and collect what each of them returns."""

import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.house.tree import ROOT

SECONDS = 500
"""After which a group is stopped; a message may take half of it. Kernels compile in this time."""


def on_ranks(
    size: int, function: str, *arguments: Any, backend: str = "gloo", lost: int = 0
) -> list[Any]:
    """`function(*arguments)` on each of `size` processes, what they return in the order of ranks.

    The last `lost` of them are killed in the course of it, and return nothing.

    Args:
        function: "tests.comm.module:name".
        arguments: whatever can be pickled.
    """
    with tempfile.TemporaryDirectory() as folder:
        place, stay = Path(folder), size - lost
        (place / "given").write_bytes(pickle.dumps((size, function, arguments, backend, lost)))
        own = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), *sys.path])}
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.comm.launch", folder, str(rank)],
                env=os.environ | own | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
                cwd=ROOT,
            )
            for rank in range(size)
        ]
        try:
            ended = [process.wait(SECONDS) for process in started]
        finally:
            for process in started:
                process.kill()
                process.wait()
        ends = [0] * stay + [-signal.SIGKILL] * lost
        assert ended == ends, f"ranks ended with {ended}; what they said is above"
        return [pickle.loads((place / f"found{rank}").read_bytes()) for rank in range(stay)]


def _run(folder: str, rank: int) -> None:
    place = Path(folder)
    size, function, arguments, backend, lost = pickle.loads((place / "given").read_bytes())
    torch.set_num_threads(1)
    dist.init_process_group(
        backend, init_method=f"file://{folder}/meet", rank=rank, world_size=size,
        timeout=timedelta(seconds=SECONDS / 2),
    )  # fmt: skip
    module, _, name = function.partition(":")
    found = getattr(importlib.import_module(module), name)(*arguments)
    (place / f"found{rank}").write_bytes(pickle.dumps(found))
    if lost:  # a group with a rank that was killed cannot be left in order
        os._exit(0)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]))
