"""How time grows with T, and that the memory of a stream does not."""

import json
import math
import subprocess
import sys

import torch
from table import Table, at_most, judged

import trilby
from trilby.bench import interleaved

STREAM = """
import json, sys, torch, trilby
def peak():  # MiB of this process; ru_maxrss would start at what its parent had
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
x, state, peaks = torch.randn(1, 65536, 8), None, []
for block in range(1, int(sys.argv[2]) + 1):
    y, state = trilby.mean(x, state)
    if block in (int(sys.argv[1]), int(sys.argv[2])):
        peaks.append(peak())
print(json.dumps([*peaks, int(state.count)]))
"""


def time(quick: bool) -> Table:
    """x [1, T, 8] through the public call."""
    lengths = [10**k for k in range(3, 6 if quick else 8)]
    inputs = {T: trilby.mean.draw(B=1, T=T, C=8)[0] for T in lengths}
    verdicts = [sentence for x in inputs.values() for sentence in judged(x)[1:]]
    ways = {str(T): lambda x=x: trilby.mean(x) for T, x in inputs.items()}
    timings = interleaved(ways, rounds=3 if quick else 9, least=0.0 if quick else 0.005)
    made = [
        {
            "T": T,
            "median ms": 1e3 * timings.median(str(T)),
            "lower quartile ms": 1e3 * timings.quartiles(str(T))[0],
            "upper quartile ms": 1e3 * timings.quartiles(str(T))[1],
            "ns per element": 1e9 * timings.median(str(T)) / (8 * T),
        }
        for T in lengths
    ]
    seconds = [timings.median(str(T)) for T in lengths]
    whole, steepest = slope(lengths, seconds), slope(lengths[-3:], seconds[-3:])
    targets = [
        at_most("slope on log-log, all T", 1.05, whole),
        at_most("slope on log-log, the three longest", 1.05, steepest),
    ]
    setup = "x [1, T, 8] float32 through `trilby.mean(x)`; the slope is that of the best line."
    return Table("Growth with T", setup, made, targets, verdicts)


def memory(quick: bool) -> Table:
    """Peak memory of a process that mixes block after block, early on and at the end."""
    early, late = (8, 32) if quick else (64, 2048)
    before, after, count = streamed(STREAM, early, late)
    made = [
        {"blocks": blocks, "positions": blocks * 65536, "peak of the process MiB": peak}
        for blocks, peak in ((early, before), (late, after))
    ]
    if count != late * 65536:
        raise SystemExit(f"the stream counted {count} positions of {late * 65536}")
    targets = [at_most("MiB that the peak grew by", 1.0, after - before)]
    setup = "Blocks [1, 65536, 8] float32 joined by the state, in a process of their own."
    return Table("Memory of a stream", setup, made, targets)


def streamed(program: str, early: int, late: int) -> list[float]:
    """Peak MiB after that many blocks and after that many, and the positions counted."""
    command = [sys.executable, "-c", program, str(early), str(late)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def slope(lengths: list[int], seconds: list[float]) -> float:
    """Of the least-squares line through log time over log length."""
    x = torch.tensor([math.log(n) for n in lengths], dtype=torch.float64)
    y = torch.tensor([math.log(s) for s in seconds], dtype=torch.float64)
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / (x @ x))
