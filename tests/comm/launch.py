"""Start a function on several processes of one group, and collect what each of them returns."""

import importlib
import os
import pickle
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


def on_ranks(size: int, function: str, *arguments: Any, backend: str = "gloo") -> list[Any]:
    """`function(*arguments)` on each of `size` processes, what they return in the order of ranks.

    Args:
        function: "tests.comm.module:name".
        arguments: whatever can be pickled.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "given").write_bytes(pickle.dumps((size, function, arguments, backend)))
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
        assert ended == [0] * size, f"ranks ended with {ended}; what they said is above"
        return [pickle.loads((place / f"found{rank}").read_bytes()) for rank in range(size)]


def _run(folder: str, rank: int) -> None:
    place = Path(folder)
    size, function, arguments, backend = pickle.loads((place / "given").read_bytes())
    torch.set_num_threads(1)
    dist.init_process_group(
        backend, init_method=f"file://{folder}/meet", rank=rank, world_size=size,
        timeout=timedelta(seconds=SECONDS / 2),
    )  # fmt: skip
    module, _, name = function.partition(":")
    found = getattr(importlib.import_module(module), name)(*arguments)
    (place / f"found{rank}").write_bytes(pickle.dumps(found))
    dist.barrier()
    dist.destroy_process_group()
    # A thread of gloo that needs Python while Python ends aborts the process. That was seen once in
    # ten runs, after all work was done. So it ends here.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]))
