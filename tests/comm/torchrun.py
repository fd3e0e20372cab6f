"""A program that `torchrun` starts on several processes of this machine, and its processes."""

import os
import subprocess
import sys
from pathlib import Path

WAIT = 120
"""Seconds within which a run has to get going, to end, and to end after it was hit."""


def start(folder: Path, size: int, *words: str) -> "subprocess.Popen[str]":
    """`torchrun --nproc-per-node SIZE WORDS` in a folder; its output and its errors are pipes."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.Popen(
        [*torchrun, "--nproc-per-node", str(size), *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def ranks(run: "subprocess.Popen[str]") -> list[int]:
    """The ids of the processes that it started, in the order of their ranks."""
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    found = {}
    for child in map(int, children):
        said = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        found |= {int(v[5:]): child for v in said if v.startswith(b"RANK=")}
    return [found[rank] for rank in sorted(found)]
