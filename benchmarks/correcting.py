"""The mixer delta: forward, backward and its memory, one token, bfloat16, growth."""

import json
import subprocess
import sys
from functools import partial
from typing import Any

import torch
from fading import PRODUCT, apart, less, setup
from growth import slope
from table import Table, at_least, at_most, proven, rows
from torch import Tensor

import trilby
from trilby.bench import interleaved
from trilby.bench.forms import call

OURS = "trilby.delta(q, k, v, beta, g)"
CHUNK, RECURRENT = (f"transformers, torch_{n}_gated_delta_rule" for n in ("chunk", "recurrent"))
SIZES = dict(H=16, K=128, V=128, T=2048)  # a layer of Qwen3-Next has 32 such heads of v
TOKEN = dict(H=32, K=128, V=128, T=1)
GGML = 145.0  # us for one token, measured on a machine with AVX2 and two processors

PEAK = """
import json, sys, torch, trilby
def peak():  # MiB of this process
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
def run(given):
    leaves = [x.requires_grad_() for x in given]
    y, state = trilby.delta(*leaves)
    seeds = torch.ones(1).expand_as(y), state.detach()  # no memory of their own
    return y, state, *torch.autograd.grad((y, state), leaves, seeds)
H, T = int(sys.argv[1]), int(sys.argv[2])
run(trilby.delta.draw(B=1, T=130, H=2, K=128, V=128))
given = [x.float() for x in trilby.delta.draw(B=1, T=1, H=H, K=128, V=128)]
given = [x.repeat(1, T, *[1] * (x.ndim - 2)) for x in given]
before, held = peak(), sum(x.nbytes for x in given)
found = run(given)
print(json.dumps([peak() - before, held / 2**20, sum(x.nbytes for x in found) / 2**20]))
"""


def forward(quick: bool) -> Table:
    sizes = less(SIZES, quick)
    given = drawn(sizes)
    verdicts, (y, _) = proven(trilby.delta, given), trilby.delta(*given)
    ways: dict[str, Any] = {OURS: partial(trilby.delta, *given)}
    ways |= {name: partial(form, *given) for name, form in others().items()}
    told = {name: apart(name, form(*given)[0], y) for name, form in others().items()}
    ways |= _product(sizes)
    with torch.no_grad():
        timings = interleaved(ways, rounds=2 if quick else 5, warmup=1)
    targets = [
        at_least(f"times faster than {name}", least, timings.times(OURS, name))
        for name, least in ((CHUNK, 6), (RECURRENT, 12))
    ]
    column = "largest difference from ours"
    made = rows(timings, OURS, {way: {column: told.get(way, "")} for way in ways})
    return Table("Gated delta, forward", setup(sizes, timings), made, targets, verdicts)


def backward(quick: bool) -> Table:
    """With the gradients of all arguments; and the peak of a process of its own."""
    sizes = less(SIZES, quick)
    given = drawn(sizes)
    dy = torch.randn(given[2].shape, generator=torch.Generator().manual_seed(1))
    verdicts = proven(trilby.delta, given, dy)
    peers = {CHUNK: others()[CHUNK]}
    ways = {OURS: call(trilby.delta, given, dy)}
    ways |= {name: call(form, given, dy) for name, form in peers.items()}
    ours = ways[OURS]()
    told = {
        name: max(
            apart(f"{name}, gradient of {letter}", a, b)
            for letter, a, b in zip(("q", "k", "v", "beta", "g"), ways[name](), ours, strict=True)
        )
        for name in peers
    }
    timings = interleaved(ways | _product(sizes), rounds=2 if quick else 3, warmup=1)
    grew, held, found = _peak(sizes["H"], sizes["T"])
    beyond = (grew - found) / (held + found)
    targets = [
        at_least(f"times faster than {CHUNK}", 6, timings.times(OURS, CHUNK)),
        at_most("of inputs, outputs and gradients, beyond them, at the peak", 0.25, beyond),
    ]
    column = "largest difference from our gradients"
    made = rows(timings, OURS, {way: {column: told.get(way, "")} for way in timings.seconds})
    return Table(
        "Gated delta, forward and backward", setup(sizes, timings), made, targets, verdicts
    )


def token(quick: bool) -> Table:
    """One token of a stream, the state in one place, against a copy of the state."""
    sizes = less(TOKEN, quick)
    given = drawn(sizes)
    state = trilby.delta(*drawn(sizes | {"T": 3}))[1]
    verdicts, out = proven(trilby.delta, (*given, state)), torch.empty_like(state)
    ours, copy = "trilby.delta.advance(q, k, v, beta, g, state=state)", "out.copy_(state)"
    ways = {
        ours: lambda: trilby.delta.advance(*given, state=state),
        "trilby.delta(q, k, v, beta, g, state)": lambda: trilby.delta(*given, state),
        "trilby.delta.step": lambda: trilby.delta.step(*given, state),
        RECURRENT: lambda: others()[RECURRENT](*given, state),
        copy: lambda: out.copy_(state),
    }
    with torch.no_grad():
        timings = interleaved(ways, rounds=5 if quick else 41, least=0.005)
    took = 1e6 * timings.median(ours)
    targets = [
        at_least(f"times faster than {RECURRENT}", 4, timings.times(ours, RECURRENT)),
        at_most("us; 1.8 times faster than ggml's kernel in C was", GGML / 1.8, took),
    ]
    made = rows(timings, ours, unit=("us", 1e6))
    return Table("Gated delta, one token", setup(sizes, timings), made, targets, verdicts)


def brain(quick: bool) -> Table:
    """bfloat16 sequences against float32; the state and the arithmetic are float32 in both."""
    sizes = less(SIZES, quick)
    given, short = drawn(sizes), drawn(sizes, torch.bfloat16)
    verdicts, name = proven(trilby.delta, short), f"{OURS}, bfloat16"
    ways = {name: partial(trilby.delta, *short), f"{OURS}, float32": partial(trilby.delta, *given)}
    with torch.no_grad():
        timings = interleaved(ways, rounds=3 if quick else 11)
    targets = [at_least("speed of float32", 0.8, timings.times(name, f"{OURS}, float32"))]
    made = rows(timings, name)
    return Table("Gated delta in bfloat16", setup(sizes, timings), made, targets, verdicts)


def growth(quick: bool) -> Table:
    """Time from T = 1e3 to 1e5, and the peak of a process of its own, with the way back."""
    lengths = [1000, 3000] if quick else [1000, 3000, 10_000, 30_000, 100_000]
    sizes = dict(H=2, K=64, V=64)
    ways = {str(T): partial(trilby.delta, *drawn(sizes | {"T": T})) for T in lengths}
    with torch.no_grad():
        timings = interleaved(ways, rounds=3 if quick else 5, least=0.0 if quick else 0.005)
    made = []
    for T in lengths:
        grew, held, found = _peak(2, T)
        made.append(
            {
                "T": T,
                "median ms": 1e3 * timings.median(str(T)),
                "us per position": 1e6 * timings.median(str(T)) / T,
                "K = V = 128, forward and backward: inputs, outputs, gradients MiB": held + found,
                "peak grew MiB": grew,
            }
        )
    targets = [
        at_most("slope on log-log", 1.1, slope(lengths, [timings.median(str(T)) for T in lengths]))
    ]
    text = "H 2, K 64, V 64, float32."
    return Table("Gated delta, growth with T", text, made, targets)


def drawn(sizes: dict[str, int], dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    return trilby.delta.draw(B=1, dtype=dtype, **sizes)


def others() -> dict[str, Any]:
    """The functions of transformers, with our arguments, and our own chunks in torch."""
    from transformers.models.qwen3_next import modeling_qwen3_next as theirs

    def of(rule: Any) -> Any:
        def form(
            q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor | None = None
        ) -> Any:
            q = q * q.shape[-1] ** 0.5  # it multiplies by the reciprocal
            return rule(q, k, v, g, beta, initial_state=state, output_final_state=True)

        return form

    return {
        CHUNK: of(theirs.torch_chunk_gated_delta_rule),
        RECURRENT: of(theirs.torch_recurrent_gated_delta_rule),
        "trilby.delta.chunk": trilby.delta.chunk,
    }


def _product(sizes: dict[str, int]) -> dict[str, Any]:
    """A limit of the recurrence: find, read and write are three products of a state and a row."""
    H, K, V, T = (sizes[name] for name in "HKVT")
    a, b = torch.randn(3 * K, T * H), torch.randn(T * H, V)
    return {PRODUCT.replace("2 K V", "3 K V"): lambda: a @ b}


def _peak(H: int, T: int) -> list[float]:
    """MiB by which the peak grew in forward and backward; of the inputs; of what comes out."""
    command = [sys.executable, "-c", PEAK, str(H), str(T)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
