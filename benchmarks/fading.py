"""The mixer decay: forward, backward, one token, bfloat16 and growth, and the limit of each."""

import json
import subprocess
import sys
from typing import Any

import chunks
import torch
from growth import slope
from table import Table, at_least, at_most, proven, rows
from torch import Tensor

import trilby
from trilby.bench import Timings, interleaved
from trilby.bench.forms import call

OURS = "trilby.decay(q, k, v, g)"
PRODUCT = "a matrix product of 2 K V multiplications for each position and head"
COPY = "a copy of what is read, as large as what is read and written"
SSD = dict(H=24, K=128, V=64, T=2048)  # Mamba-2 of 780 M parameters
LINEAR = dict(H=16, K=64, V=64, T=4096)
FAST = (32, 64, 128)  # chunks of 16 take seconds to go back
TOKEN = dict(H=32, K=128, V=128, T=1)
GGML = 31.0  # ms, forward only, measured on a machine with AVX2 and two processors

PEAK = """
import json, sys, torch, trilby
def peak():  # MiB of this process
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
T = int(sys.argv[1])
trilby.decay(*trilby.decay.draw(B=1, T=64, H=4, K=64, V=64))
q, k, v, g = (torch.ones(1, T, 4, n) for n in (64, 64, 64, 1))
before = peak()
y, state = trilby.decay(q, k, v, g.squeeze(-1) * -0.1)
print(json.dumps([before, peak(), sum(t.nbytes for t in (q, k, v, g, y, state)) / 2**20]))
"""


def forward(quick: bool) -> Table:
    sizes = less(SSD, quick)
    given = drawn(sizes)
    return _against_torch("Decay, forward", sizes, given, 4, quick)


def linear(quick: bool) -> Table:
    """g = 0: linear attention without its normaliser; the matrix form stands beside the chunks."""
    sizes = less(LINEAR, quick)
    q, k, v, g = drawn(sizes)
    given = (q, k, v, torch.zeros_like(g))
    return _against_torch("Decay with g = 0, forward", sizes, given, 3, quick, matrix=10)


def _against_torch(
    title: str, sizes: dict[str, int], given: tuple[Tensor, ...], least: float, quick: bool, *,
    matrix: float = 0,
) -> Table:  # fmt: skip
    verdicts, (y, _) = proven(trilby.decay, given), trilby.decay(*given)
    peers = list(chunks.every(given))
    if not matrix:  # where g = 0 it has no steps
        peers += chunks.of_transformers(given)
    told = {peer.name: apart(peer.name, peer.form(*given)[0], y) for peer in peers}
    ways = {OURS: lambda: trilby.decay(*given), **{p.name: p.way for p in peers}}
    if matrix:
        ways["trilby.decay.matrix"] = lambda: trilby.decay.matrix(*given)
        told["trilby.decay.matrix"] = apart("matrix", ways["trilby.decay.matrix"]()[0], y)
    ways |= limits(sizes, given, y)
    with torch.no_grad():
        timings = interleaved(ways, rounds=2 if quick else 11)
    best = _best(timings, [p.name for p in peers])
    targets = [at_least(f"times faster than {best}", least, timings.times(OURS, best))]
    if not matrix:
        took = 1e3 * timings.median(OURS)
        targets.append(at_most("ms; ggml's kernel in C took that on two processors", GGML, took))
    if matrix:
        times = timings.times(OURS, "trilby.decay.matrix")
        targets.append(at_least("times faster than trilby.decay.matrix", matrix, times))
    column = "largest difference from ours"
    made = rows(timings, OURS, {way: {column: told.get(way, "")} for way in ways})
    return Table(title, setup(sizes, timings), made, targets, verdicts)


def backward(quick: bool) -> Table:
    """With the gradients of q, k, v and g, against autograd through the best torch form."""
    sizes = less(SSD, quick)
    given = drawn(sizes)
    dy = torch.randn(given[2].shape, generator=torch.Generator().manual_seed(1))
    verdicts = proven(trilby.decay, given, dy)
    ways = {OURS: call(trilby.decay, given, dy)}
    ours, told = ways[OURS](), {}
    for peer in (*chunks.every(given, FAST), *chunks.of_transformers(given, FAST)):
        ways[peer.name] = call(peer.form, given, dy)
        found = ways[peer.name]()
        told[peer.name] = max(
            apart(f"{peer.name}, gradient of {name}", a, b)
            for name, a, b in zip("qkvg", found, ours, strict=True)
        )
    timings = interleaved(ways, rounds=2 if quick else 5, warmup=1)
    best = _best(timings, list(told))
    targets = [at_least(f"times faster than {best}", 3, timings.times(OURS, best))]
    column = "largest difference from our gradients"
    made = rows(timings, OURS, {way: {column: told.get(way, "")} for way in ways})
    return Table("Decay, forward and backward", setup(sizes, timings), made, targets, verdicts)


def token(quick: bool) -> Table:
    """One token of a stream, with the state kept in one place and without, and a copy of it."""
    sizes = less(TOKEN, quick)
    given = drawn(sizes)
    state = trilby.decay(*drawn(sizes | {"T": 3}))[1]
    verdicts, out = proven(trilby.decay, (*given, state)), torch.empty_like(state)
    ours, copy = "trilby.decay.advance(q, k, v, g, state=state)", "out.copy_(state)"
    plain, kept = "trilby.decay(q, k, v, g, state)", state.clone()
    ways = {
        ours: lambda: trilby.decay.advance(*given, state=kept),
        plain: lambda: trilby.decay(*given, state),
        "trilby.decay.step": lambda: trilby.decay.step(*given, state),
        copy: lambda: out.copy_(state),
    }
    with torch.no_grad():
        timings = interleaved(ways, rounds=5 if quick else 41, least=0.005)
    targets = [
        at_least("speed of a copy of the state", 0.5, timings.times(ours, copy)),
        at_least("times faster than the plain call", 2, timings.times(ours, plain)),
    ]
    made = rows(timings, ours, unit=("us", 1e6))
    return Table("Decay, one token", setup(sizes, timings), made, targets, verdicts)


def brain(quick: bool) -> Table:
    """bfloat16 sequences against float32; the state and the arithmetic are float32 in both."""
    sizes = less(SSD, quick)
    given = drawn(sizes)
    short = drawn(sizes, torch.bfloat16)
    verdicts, name = proven(trilby.decay, short), f"{OURS}, bfloat16"
    ways = {name: lambda: trilby.decay(*short), f"{OURS}, float32": lambda: trilby.decay(*given)}
    with torch.no_grad():
        timings = interleaved(ways, rounds=3 if quick else 21)
    targets = [at_least("speed of float32", 0.5, timings.times(name, f"{OURS}, float32"))]
    made = rows(timings, name)
    return Table("Decay in bfloat16", setup(sizes, timings), made, targets, verdicts)


def growth(quick: bool) -> Table:
    """Time from T = 1e3 to 1e5, and the peak of a process of its own."""
    lengths = [1000, 3000, 10_000] if quick else [1000, 3000, 10_000, 30_000, 100_000]
    sizes = dict(H=4, K=64, V=64)
    inputs = {T: drawn(sizes | {"T": T}) for T in lengths}
    ways = {str(T): lambda given=given: trilby.decay(*given) for T, given in inputs.items()}
    with torch.no_grad():
        timings = interleaved(ways, rounds=3 if quick else 9, least=0.0 if quick else 0.005)
    made, shares = [], []
    for T in lengths:
        before, after, needed = _peak(T)
        shares.append((after - before) / needed)
        made.append(
            {
                "T": T,
                "median ms": 1e3 * timings.median(str(T)),
                "us per position": 1e6 * timings.median(str(T)) / T,
                "inputs and outputs MiB": needed,
                "peak grew MiB": after - before,
            }
        )
    seconds = [timings.median(str(T)) for T in lengths]
    y, g = 64 * 4 * 4, 4 * 4  # bytes for each position: what the call itself has to make
    own = (y + g) * lengths[-1] / 2**20
    beyond = (made[-1]["peak grew MiB"] - own) / made[-1]["inputs and outputs MiB"]
    targets = [
        at_most("slope on log-log", 1.1, slope(lengths, seconds)),
        at_most("of inputs and outputs, beyond them, at the longest T", 0.1, beyond),
    ]
    text = (
        "H 4, K 64, V 64, float32; the inputs are there before the peak is read, y and g are not."
    )
    return Table("Decay, growth with T", text, made, targets)


def _peak(T: int) -> list[float]:
    """Peak MiB before and after a call, and what its inputs and outputs take."""
    command = [sys.executable, "-c", PEAK, str(T)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def drawn(sizes: dict[str, int], dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    return trilby.decay.draw(B=1, dtype=dtype, **sizes)


def limits(
    sizes: dict[str, int], given: tuple[Tensor, ...], y: Tensor
) -> dict[str, Any]:  # fmt: skip
    """The limits of any recurrence: its multiplications and its memory traffic."""
    H, K, V, T = (sizes[name] for name in "HKVT")
    a, b = torch.randn(2 * K, T * H), torch.randn(T * H, V)  # 2 K x T H x V multiplications
    half = (sum(t.numel() for t in given) + y.numel()) // 2
    there, out = torch.zeros(half), torch.empty(half)
    return {PRODUCT: lambda: a @ b, COPY: lambda: out.copy_(there)}


def setup(sizes: dict[str, int], timings: Timings) -> str:
    told = ", ".join(f"{name} {size}" for name, size in sizes.items())
    return f"B 1, {told}, float32, {timings.rounds} rounds in turn, medians."


def _best(timings: Timings, names: list[str]) -> str:
    return min(names, key=timings.median)


def less(sizes: dict[str, int], quick: bool) -> dict[str, int]:
    return {"H": 2, "K": 32, "V": 32, "T": min(256, sizes["T"])} if quick else sizes


def apart(name: str, got: Tensor, ours: Tensor) -> float:
    """The largest difference; one above a ten-thousandth of the largest element is no rounding."""
    apart = float((got - ours).abs().max())
    if not apart <= 1e-4 * float(ours.abs().max()):
        raise SystemExit(f"refused to time {name}: its answer is {apart:.1e} from ours")
    return apart
