"""Tables that several mixers have: beside their own forms in torch, in halves, and over T."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from fading import apart
from growth import slope
from table import Table, at_least, at_most, proven, rows
from torch import Tensor

import trilby
from trilby.bench import interleaved
from trilby.bench.forms import call

Given = tuple[Tensor, ...]
COPY = "a copy of what is read, as large as what is read and written"
BOTH = ", forward and backward"

PEAK = """
import json, sys, torch, trilby
def peak():  # MiB of this process
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
mixer, T, sizes = trilby.MIXERS[sys.argv[1]], int(sys.argv[2]), json.loads(sys.argv[3])
mixer(*mixer.draw(B=1, T=64, **sizes))
given = [
    x.repeat(1, T, *[1] * (x.ndim - 2)) if x.ndim > 2 else x
    for x in mixer.draw(B=1, T=1, **sizes)
]
before = peak()
y = mixer(*given)[0]
print(json.dumps([peak() - before, y.nbytes / 2**20, sum(x.nbytes for x in given) / 2**20]))
"""


def against(
    title: str, mixer: trilby.Mixer, given: Given, forms: Mapping[str, Callable[..., Any]],
    quick: bool, *, dy: Tensor | None = None, times: float = 4,
    others: Mapping[str, Callable[..., Any]] | None = None,
) -> Table:  # fmt: skip
    """Ours beside forms of the same arguments; their results are compared with ours first.

    Args:
        title, mixer, given: of the table.
        forms: name -> function; ours is to be some times as fast as the best of them.
        dy: a gradient of y; forward and backward are timed, and gradients are compared.
        times: how many times that is.
        others: further functions, of which ours is to be ahead.
    """
    ours, rivals = called(mixer), others or {}
    ways: dict[str, Callable[[], Any]] = {ours: call(mixer, given, dy)}
    expected, told = _answer(ways[ours], dy), {}
    for name, form in {**forms, **rivals}.items():
        ways[name] = call(form, given, dy)
        pairs = zip(_answer(ways[name], dy), expected, strict=True)
        told[name] = max(apart(name, one, other) for one, other in pairs)
    half = (sum(t.numel() for t in given) + mixer(*given)[0].numel()) // 2
    there, out = torch.zeros(half), torch.empty(half)
    ways[COPY] = lambda: out.copy_(there)
    verdicts = proven(mixer, given, dy)
    timings = interleaved(ways, rounds=2 if quick else 5, warmup=1)
    best = min(forms, key=timings.median)
    targets = [at_least(f"times faster than {best}", times, timings.times(ours, best))]
    targets += [at_least(f"times faster than {n}", 1, timings.times(ours, n)) for n in rivals]
    column = f"largest difference from {'our gradients' if dy is not None else 'ours'}"
    made = rows(timings, ours, {way: {column: told.get(way, "")} for way in ways})
    return Table(title, setup(given, timings.rounds), made, targets, verdicts)


def halves(
    title: str, mixer: trilby.Mixer, drawn: Callable[[torch.dtype], Given], quick: bool, *,
    backward: bool = False,
) -> Table:  # fmt: skip
    """bfloat16 and float16 against float32; with `backward` forward and backward too."""
    ways: dict[str, Callable[[], Any]] = {}
    verdicts, whole = [], drawn(torch.float32)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        name, given = str(dtype).removeprefix("torch."), drawn(dtype)
        verdicts += proven(mixer, given)
        ways[name] = partial(mixer, *given)
        if backward:
            ways[name + BOTH] = call(mixer, given, torch.ones_like(mixer(*given)[0]))
    timings = interleaved(ways, rounds=2 if quick else 9, warmup=1)
    targets = [
        at_least(f"{name}: speed of float32", 0.8, timings.times(name, f"float32{both}"))
        for name in ways
        for both in [BOTH if name.endswith(BOTH) else ""]
        if name != f"float32{both}"
    ]
    made = rows(timings, "float32")
    return Table(title, setup(whole, timings.rounds), made, targets, verdicts)


def growth(title: str, mixer: trilby.Mixer, sizes: dict[str, int], quick: bool) -> Table:
    """Time from T = 1e3 to 1e5, and the peak of a process of its own."""
    lengths = (1000, 3000) if quick else (1000, 3000, 10_000, 30_000, 100_000)
    inputs = {T: mixer.draw(B=1, T=T, **sizes) for T in lengths}
    ways = {str(T): partial(mixer, *given) for T, given in inputs.items()}
    timings = interleaved(ways, rounds=2 if quick else 9, least=0.0 if quick else 0.005)
    made, beyond = [], 0.0
    for T in lengths:
        grew, out, held = _peak(mixer, T, sizes)
        beyond = (grew - out) / (out + held)
        median = timings.median(str(T))
        row = {"T": T, "median ms": 1e3 * median, "us per position": 1e6 * median / T}
        made.append(row | {"inputs and y MiB": out + held, "peak grew MiB, with y": grew})
    medians = [timings.median(str(T)) for T in lengths]
    targets = [
        at_most("slope of log time against log T", 1.1, slope(list(lengths), medians)),
        at_most("of inputs and y, beyond y, at the longest T", 0.1, beyond),
    ]
    told = ", ".join(f"{name} {size}" for name, size in sizes.items())
    text = f"B 1, {told}, float32, {timings.rounds} rounds in turn, medians."
    return Table(title, text, made, targets, proven(mixer, inputs[lengths[0]]))


def called(mixer: trilby.Mixer) -> str:
    """The call as a user writes it, sequences alone."""
    return f"trilby.{mixer.name}({', '.join(mixer.contract.sequences)})"


def setup(given: Given, rounds: int) -> str:
    sizes = ", ".join(str(list(t.shape)) for t in given)
    return f"Arguments {sizes}, {rounds} rounds in turn, medians."


def _answer(way: Callable[[], Any], dy: Tensor | None) -> list[Tensor]:
    """The gradients, or y."""
    return list(way()) if dy is not None else [way()[0]]


def _peak(mixer: trilby.Mixer, T: int, sizes: dict[str, int]) -> list[float]:
    """MiB by which the peak grew in a call, of its y, and of its inputs."""
    command = [sys.executable, "-c", PEAK, mixer.name, str(T), json.dumps(sizes)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
