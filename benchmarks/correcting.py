"""The delta rules, delta and kda: forward, backward and memory, one token, halves, growth."""

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

MIXER = {"delta": trilby.delta, "kda": trilby.kda}
CALL = {"delta": "q, k, v, beta, g", "kda": "q, k, v, g, beta"}
OURS = {name: f"trilby.{name}({CALL[name]})" for name in MIXER}
THEIRS = {  # chunks, and position by position
    "delta": [f"transformers, torch_{n}_gated_delta_rule" for n in ("chunk", "recurrent")],
    "kda": [f"transformers, {n}_kimi_delta_attention" for n in ("chunk", "recurrent")],
}
TITLE = {"delta": "Gated delta", "kda": "Kimi delta attention"}
TIMES = {  # so many times faster than their chunks, and than the other peer: forward, and both
    "delta": ((6, THEIRS["delta"][1], 12), (6, None, 0)),
    "kda": ((50, "trilby.kda.chunk", 5), (20, "trilby.kda.chunk", 4)),
}
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
    y, state = mixer(*leaves)
    seeds = torch.ones(1).expand_as(y), state.detach()  # no memory of their own
    return y, state, *torch.autograd.grad((y, state), leaves, seeds)
H, T, mixer = int(sys.argv[1]), int(sys.argv[2]), trilby.MIXERS[sys.argv[3]]
run(mixer.draw(B=1, T=130, H=2, K=128, V=128))
given = [x.float() for x in mixer.draw(B=1, T=1, H=H, K=128, V=128)]
given = [x.repeat(1, T, *[1] * (x.ndim - 2)) for x in given]
before, held = peak(), sum(x.nbytes for x in given)
found = run(given)
print(json.dumps([peak() - before, held / 2**20, sum(x.nbytes for x in found) / 2**20]))
"""


def forward(quick: bool, name: str = "delta") -> Table:
    sizes = less(SIZES, quick)
    given, ours = drawn(sizes, name=name), OURS[name]
    verdicts, (y, _) = proven(MIXER[name], given), MIXER[name](*given)
    ways: dict[str, Any] = {ours: partial(MIXER[name], *given)}
    ways |= {other: partial(form, *given) for other, form in others(name).items()}
    told = {other: apart(other, form(*given)[0], y) for other, form in others(name).items()}
    ways |= _product(sizes)
    with torch.no_grad():
        timings = interleaved(ways, rounds=2 if quick else 5, warmup=1)
    times, other, least = TIMES[name][0]
    targets = [
        at_least(f"times faster than {way}", n, timings.times(ours, way))
        for way, n in ((THEIRS[name][0], times), (other, least))
    ]
    column = "largest difference from ours"
    made = rows(timings, ours, {way: {column: told.get(way, "")} for way in ways})
    return Table(f"{TITLE[name]}, forward", setup(sizes, timings), made, targets, verdicts)


def backward(quick: bool, name: str = "delta") -> Table:
    """With the gradients of all arguments; and the peak of a process of its own."""
    sizes = less(SIZES, quick)
    given, ours = drawn(sizes, name=name), OURS[name]
    dy = torch.randn(given[2].shape, generator=torch.Generator().manual_seed(1))
    verdicts = proven(MIXER[name], given, dy)
    times, other, least = TIMES[name][1]
    wanted = [THEIRS[name][0], *([other] if other else [])]
    peers = {way: others(name)[way] for way in wanted}
    ways = {ours: call(MIXER[name], given, dy)}
    ways |= {way: call(form, given, dy) for way, form in peers.items()}
    found, letters = ways[ours](), CALL[name].split(", ")
    told = {
        way: max(
            apart(f"{way}, gradient of {letter}", a, b)
            for letter, a, b in zip(letters, ways[way](), found, strict=True)
        )
        for way in peers
    }
    timings = interleaved(ways | _product(sizes), rounds=2 if quick else 3, warmup=1)
    grew, held, out = _peak(sizes["H"], sizes["T"], name)
    beyond = (grew - out) / (held + out)
    targets = [
        at_least(f"times faster than {way}", n, timings.times(ours, way))
        for way, n in zip(wanted, (times, least), strict=False)
    ]
    what = "of inputs, outputs and gradients, beyond them, at the peak"
    targets.append(at_most(what, 0.25, beyond))
    column = "largest difference from our gradients"
    made = rows(timings, ours, {way: {column: told.get(way, "")} for way in timings.seconds})
    title = f"{TITLE[name]}, forward and backward"
    return Table(title, setup(sizes, timings), made, targets, verdicts)


def token(quick: bool, name: str = "delta") -> Table:
    """One token of a stream, the state in one place, against a copy of the state."""
    sizes, mixer, theirs = less(TOKEN, quick), MIXER[name], THEIRS[name][1]
    given = drawn(sizes, name=name)
    state = mixer(*drawn(sizes | {"T": 3}, name=name))[1]
    verdicts, out = proven(mixer, (*given, state)), torch.empty_like(state)
    ours, copy = f"trilby.{name}.advance({CALL[name]}, state=state)", "out.copy_(state)"
    ways = {
        ours: lambda: mixer.advance(*given, state=state),
        f"trilby.{name}({CALL[name]}, state)": lambda: mixer(*given, state),
        f"trilby.{name}.step": lambda: mixer.step(*given, state),
        theirs: lambda: others(name)[theirs](*given, state),
        copy: lambda: out.copy_(state),
    }
    with torch.no_grad():
        timings = interleaved(ways, rounds=5 if quick else 41, least=0.005)
    took = 1e6 * timings.median(ours)
    targets = [
        at_least(f"times faster than {theirs}", 4, timings.times(ours, theirs)),
        at_most("us; 1.8 times faster than ggml's kernel in C was", GGML / 1.8, took),
    ]
    made = rows(timings, ours, unit=("us", 1e6))
    return Table(f"{TITLE[name]}, one token", setup(sizes, timings), made, targets, verdicts)


def brain(quick: bool, name: str = "delta") -> Table:
    """bfloat16 sequences against float32; the state and the arithmetic are float32 in both."""
    sizes, mixer = less(SIZES, quick), MIXER[name]
    given, short = drawn(sizes, name=name), drawn(sizes, torch.bfloat16, name)
    verdicts = proven(mixer, short)
    halves, singles = (f"{OURS[name]}, {dtype}" for dtype in ("bfloat16", "float32"))
    ways = {halves: partial(mixer, *short), singles: partial(mixer, *given)}
    with torch.no_grad():
        timings = interleaved(ways, rounds=3 if quick else 11)
    targets = [at_least("speed of float32", 0.8, timings.times(halves, singles))]
    made = rows(timings, halves)
    return Table(f"{TITLE[name]} in bfloat16", setup(sizes, timings), made, targets, verdicts)


def growth(quick: bool, name: str = "delta") -> Table:
    """Time from T = 1e3 to 1e5, and the peak of a process of its own, with the way back."""
    lengths = [1000, 3000] if quick else [1000, 3000, 10_000, 30_000, 100_000]
    sizes = dict(H=2, K=64, V=64)
    ways = {str(T): partial(MIXER[name], *drawn(sizes | {"T": T}, name=name)) for T in lengths}
    with torch.no_grad():
        timings = interleaved(ways, rounds=3 if quick else 5, least=0.0 if quick else 0.005)
    made = []
    for T in lengths:
        grew, held, found = _peak(2, T, name)
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
    return Table(f"{TITLE[name]}, growth with T", text, made, targets)


kda_forward, kda_backward, kda_token, kda_brain, kda_growth = (
    partial(table, name="kda") for table in (forward, backward, token, brain, growth)
)


def drawn(
    sizes: dict[str, int], dtype: torch.dtype = torch.float32, name: str = "delta"
) -> tuple[Tensor, ...]:
    return MIXER[name].draw(B=1, dtype=dtype, **sizes)


def others(name: str) -> dict[str, Any]:
    """The functions of transformers, with our arguments, and our own chunks in torch."""

    def of(rule: Any) -> Any:
        def form(q: Tensor, *given: Tensor) -> Any:
            k, v, one, other, *before = given
            g, beta = (other, one) if name == "delta" else (one, other)
            q = q * q.shape[-1] ** 0.5  # it multiplies by the reciprocal
            state = before[0] if before else None
            return rule(q, k, v, g, beta, initial_state=state, output_final_state=True)

        return form

    if name == "delta":
        from transformers.models.qwen3_next import modeling_qwen3_next as theirs
    else:
        from transformers.models.kimi_linear import modeling_kimi_linear as theirs
    rules = (getattr(theirs, way.rpartition(" ")[2]) for way in THEIRS[name])
    found = {way: of(rule) for way, rule in zip(THEIRS[name], rules, strict=True)}
    return found | {f"trilby.{name}.chunk": MIXER[name].chunk}


def _product(sizes: dict[str, int]) -> dict[str, Any]:
    """A limit of the recurrence: find, read and write are three products of a state and a row."""
    H, K, V, T = (sizes[name] for name in "HKVT")
    a, b = torch.randn(3 * K, T * H), torch.randn(T * H, V)
    return {PRODUCT.replace("2 K V", "3 K V"): lambda: a @ b}


def _peak(H: int, T: int, name: str) -> list[float]:
    """MiB by which the peak grew in forward and backward; of the inputs; of what comes out."""
    command = [sys.executable, "-c", PEAK, str(H), str(T), name]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
