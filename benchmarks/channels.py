"""The mixers of single channels, convolution and selective scan, beside those of transformers.

Their functions take time last. Each layout is timed as it lies in memory, without copies.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from beside import growth, halves
from table import Table, at_least, proven, rows
from torch import Tensor
from torch.nn.functional import conv1d, silu

import trilby
from trilby.bench import Timings, interleaved
from trilby.bench.forms import call

CONV, SELECTIVE = "trilby.conv(x, kernel, bias, silu=True)", "trilby.selective(x, dt, A, B, C, D)"
COPY = "a copy of x"
SIZES = {"[1, 2048, 6144]": (1, 2048, 6144), "[8, 4096, 512]": (8, 4096, 512)}
LAYOUTS = ("channels last", "time last")
GGML = "512 channels; ggml's kernel in C took 30 ms on such a machine"
ACTIVATED = replace(
    trilby.conv, forms={n: partial(f, silu=True) for n, f in trilby.conv.forms.items()}
)


def convolution(quick: bool) -> Table:
    return _convolution("Convolution with silu, forward", 4, quick, backward=False)


def convolution_backward(quick: bool) -> Table:
    return _convolution("Convolution with silu, forward and backward", 3, quick, backward=True)


def convolution_brain(quick: bool) -> Table:
    """bfloat16 and float16 against float32, channels last."""
    shape = (2, 64, 32) if quick else SIZES["[8, 4096, 512]"]
    drawn = partial(_drawn, shape, "channels last")
    return halves("Convolution with silu, in halves", ACTIVATED, drawn, quick)


def convolution_growth(quick: bool) -> Table:
    return growth("Convolution, growth with T", trilby.conv, dict(C=64), quick)


def _convolution(title: str, least: float, quick: bool, *, backward: bool) -> Table:
    made, targets, verdicts, rounds = [], [], [], 0
    for name, shape in SIZES.items():
        for layout in LAYOUTS:
            given = _drawn((2, 64, 32) if quick else shape, layout)
            dy = torch.randn_like(given[0]) if backward else None
            verdicts += proven(ACTIVATED, given, dy)
            _agree(given, dy)
            timings = _taken(_ways(given, dy), 2 if quick else 3 if backward else 7)
            at, rounds = f"{name}, {layout}", timings.rounds
            made += [{"x": at, **row} for row in rows(timings, CONV)]
            peer = "torch, F.silu(F.conv1d(x, groups=C))"
            what = f"{at}: times faster than torch"
            targets.append(at_least(what, least, timings.times(CONV, peer)))
            if not backward:
                what = f"{at}: speed of a copy"
                targets.append(at_least(what, 0.6, timings.times(CONV, COPY)))
    setup = f"Kernel of width 4, bias, float32, {rounds} rounds in turn, medians."
    return Table(title, setup, made, targets, verdicts)


def _drawn(
    shape: tuple[int, ...], layout: str, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    x, kernel, bias = trilby.conv.draw(B=shape[0], T=shape[1], C=shape[2], dtype=dtype)
    return x.mT.contiguous().mT if layout == "time last" else x, kernel, bias


def by_torch(x: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, None]:
    """The torch path of every layer of transformers that has this convolution."""
    z = conv1d(x.mT, kernel[:, None], bias, padding=kernel.shape[1] - 1, groups=len(kernel))
    return silu(z[:, :, : x.shape[1]]).mT, None


def _agree(given: tuple[Tensor, ...], dy: Tensor | None) -> None:
    """Raise unless torch's results are ours but for the rounding of float32."""
    ways = (partial(trilby.conv, silu=True), by_torch)
    results = [[w(*given)[0]] if dy is None else call(w, given, dy)() for w in ways]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(ours.abs().max()))


def _ways(given: tuple[Tensor, ...], dy: Tensor | None) -> dict[str, Callable[[], Any]]:
    out, x = torch.empty_like(given[0]), given[0]
    ours, torchs = partial(trilby.conv, silu=True), "torch, F.silu(F.conv1d(x, groups=C))"
    ways = {CONV: call(ours, given, dy), torchs: call(by_torch, given, dy)}
    return ways | {COPY: lambda: out.copy_(x)}


def selective(quick: bool) -> Table:
    """The size of a layer of 1,536 channels, and the one that ggml was timed at."""
    made, targets, verdicts, rounds = [], [], [], 0
    for channels, least in ((1536, 15), (512, None)):
        given = trilby.selective.draw(B=1, T=32 if quick else 1024, C=channels, N=16)
        verdicts += proven(trilby.selective, given)
        ways = _scans(given, None)
        torch.testing.assert_close(*(w()[0] for w in ways.values()), rtol=1e-3, atol=1e-3)
        timings = _taken(ways | _limit(given), 2 if quick else 9)
        made += [{"channels": channels, **row} for row in rows(timings, SELECTIVE)]
        rounds, peer = timings.rounds, list(ways)[1]
        if least:
            times = timings.times(SELECTIVE, peer)
            targets.append(at_least(f"{channels} channels: times faster than {peer}", least, times))
        else:
            took = 1e3 * timings.median(SELECTIVE)
            targets.append(at_least(f"{GGML}: times faster", 1, 30 / took))
    setup = f"B 1, T 1024, state 16, float32, {rounds} rounds in turn, medians."
    return Table("Selective scan, forward", setup, made, targets, verdicts)


def selective_backward(quick: bool) -> Table:
    given = trilby.selective.draw(B=1, T=32 if quick else 1024, C=1536, N=16)
    dy = torch.randn_like(given[0])
    verdicts, ways = proven(trilby.selective, given, dy), _scans(given, dy)
    for ours, theirs in zip(*(way() for way in ways.values()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-4 * float(ours.abs().max()))
    timings, peer = _taken(ways | _limit(given), 2 if quick else 5), list(ways)[1]
    targets = [at_least(f"times faster than {peer}", 10, timings.times(SELECTIVE, peer))]
    setup = f"B 1, T 1024, 1536 channels, state 16, float32, {timings.rounds} rounds, medians."
    made = rows(timings, SELECTIVE)
    return Table("Selective scan, forward and backward", setup, made, targets, verdicts)


def selective_brain(quick: bool) -> Table:
    """bfloat16 and float16 against float32."""
    sizes = dict(B=1, T=32 if quick else 1024, C=1536, N=16)
    drawn = lambda dtype: trilby.selective.draw(**sizes, dtype=dtype)
    return halves("Selective scan in halves", trilby.selective, drawn, quick)


def selective_growth(quick: bool) -> Table:
    return growth("Selective scan, growth with T", trilby.selective, dict(C=64, N=16), quick)


def by_transformers(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor
) -> tuple[Tensor, Tensor]:
    """The torch path of Mamba's layer."""
    from transformers.models.mamba.modeling_mamba import mamba_selective_scan

    y, state = mamba_selective_scan(x.mT, dt.mT, A, B.mT, C.mT, D, return_last_state=True)
    return y.mT, state


def _scans(given: tuple[Tensor, ...], dy: Tensor | None) -> dict[str, Callable[[], Any]]:
    """Ours, and theirs in their own layout."""
    theirs = [x.mT.contiguous().mT if x.ndim == 3 else x for x in given]
    peer = "transformers, mamba_selective_scan"
    return {SELECTIVE: call(trilby.selective, given, dy), peer: call(by_transformers, theirs, dy)}


def _limit(given: tuple[Tensor, ...]) -> dict[str, Callable[[], Any]]:
    """One exp for each decay, and nothing else."""
    x, A = given[0], given[2]
    logs = (given[1][..., None] * A).contiguous()
    out = torch.empty_like(logs)
    return {
        f"torch.exp of {x.numel() * A.shape[1] >> 20} Mi decays": lambda: torch.exp(logs, out=out)
    }


def _taken(ways: dict[str, Callable[[], Any]], rounds: int) -> Timings:
    return interleaved(ways, rounds=rounds, warmup=1)
