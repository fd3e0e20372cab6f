"""Softmax attention beside torch's scaled_dot_product_attention: whole rows, a window, one query.

One query is timed on the operator, whose keys are those of the cache, and not with the state that a
call returns: it is a copy of the cache with one position more.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from table import Table, at_least, proven, rows
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

import trilby
from trilby.bench import Timings, interleaved
from trilby.bench.forms import call
from trilby.kernels import ops

OURS, TORCH, READ = "trilby.attention", "torch, sdpa", "a read of the cache"
LENGTHS = (512, 2048, 8192)
WINDOW = 256


def forward(quick: bool) -> Table:
    return _causal("Attention, forward", 0.97, quick, backward=False)


def backward(quick: bool) -> Table:
    return _causal("Attention, forward and backward", 0.97, quick, backward=True)


def window(quick: bool) -> Table:
    """Each query sees 256 positions; torch takes a mask for that."""
    T = 300 if quick else 4096
    given = trilby.attention.draw(B=1, T=T, H=8, K=64, V=64)
    far = torch.arange(T)[:, None] - torch.arange(T)
    mask = (far >= 0) & (far < WINDOW)
    banded = {n: partial(f, window=WINDOW) for n, f in trilby.attention.forms.items()}
    verdicts = proven(replace(trilby.attention, forms=banded), given)
    ways = {
        OURS: lambda: trilby.attention(*given, window=WINDOW)[0],
        f"{TORCH} with a mask": lambda: _by_torch(*given, mask)[0],
    }
    _agree(ways)
    timings = _taken(ways, quick)
    least = at_least("times faster than a mask", 8, timings.times(OURS, f"{TORCH} with a mask"))
    setup = f"B 1, T 4096, H 8, K 64, window {WINDOW}, float32, {timings.rounds} rounds in turn."
    return Table("Attention with a window", setup, rows(timings, OURS), [least], verdicts)


def query(quick: bool) -> Table:
    """32 query heads on 8, 8,192 keys of 128 numbers, in three dtypes."""
    made, targets, found, times = [], [], {}, 0
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        q, k, v = _cache(500 if quick else 8192, dtype)
        ours: Callable[[], Tensor] = lambda q=q, k=k, v=v: ops.softmax_attention(
            q, k, v, None, None, None, None, 128**-0.5, 0.0, 0
        )
        heads = [x.transpose(1, 2).contiguous() for x in (k, v)]
        ways: dict[str, Callable[[], Any]] = {
            OURS: ours,
            TORCH: lambda q=q, k=k, v=v: _by_torch(q, k, v)[0],
            f"{TORCH}, heads before time": lambda q=q, h=heads: sdpa(
                q.transpose(1, 2), *h, enable_gqa=True
            ).transpose(1, 2),
        }
        _agree(ways, 2e-2 if dtype == torch.bfloat16 else 4e-3)
        bits = [x.view(torch.int32) for x in (k, v)]
        ways[READ] = lambda bits=bits: [x.amax() for x in bits]
        found[name] = timings = _taken(ways, quick)
        times = timings.rounds
        made += [{"dtype": name, **row} for row in rows(timings, OURS)]
        targets += [
            at_least(f"{name}: times faster than torch", 3, timings.times(OURS, TORCH)),
            at_least(f"{name}: speed of the read", 0.7, timings.times(OURS, READ)),
        ]
    for name in ("bfloat16", "float16"):
        speed = found["float32"].median(OURS) / found[name].median(OURS)
        targets.append(at_least(f"{name}: speed of float32", 0.8, speed))
    setup = f"32 query heads on 8, T 8192, K = V = 128, {times} rounds in turn, medians."
    verdicts = proven(trilby.attention, trilby.attention.draw(B=1, T=1, H=32, K=128, V=128))
    return Table("One query of attention", setup, made, targets, verdicts)


def _causal(title: str, least: float, quick: bool, *, backward: bool) -> Table:
    made, targets, verdicts, times = [], [], [], 0
    for T in (64,) if quick else LENGTHS:
        given = trilby.attention.draw(B=1, T=T, H=8, K=64, V=64)
        dy = torch.randn_like(given[0]) if backward else None
        verdicts += proven(trilby.attention, given, dy)
        ways = {OURS: call(trilby.attention, given, dy), TORCH: call(_by_torch, given, dy)}
        timings = _taken(ways, quick)
        made += [{"T": T, **row} for row in rows(timings, OURS)]
        targets.append(at_least(f"T {T}: speed of sdpa", least, timings.times(OURS, TORCH)))
        times = timings.rounds
    setup = f"B 1, H 8, K = V = 64, float32, {times} rounds in turn, medians."
    return Table(title, setup, made, targets, verdicts)


def _by_torch(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, None]:
    heads = (x.transpose(1, 2) for x in (q, k, v))
    causal = mask is None and q.shape[1] > 1
    return sdpa(*heads, attn_mask=mask, is_causal=causal, enable_gqa=True).transpose(1, 2), None


def _cache(T: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    sizes = (1, 1, 32, 128), (1, T, 8, 128), (1, T, 8, 128)
    q, k, v = (torch.randn(size, generator=rng).to(dtype) for size in sizes)
    return q, k, v


def _agree(ways: dict[str, Callable[[], Tensor]], error: float = 1e-4) -> None:
    """Raise unless all results are the same but for rounding."""
    first, *others = (way().float() for way in ways.values())
    for other in others:
        torch.testing.assert_close(other, first, rtol=error, atol=error)


def _taken(ways: dict[str, Callable[[], Any]], quick: bool) -> Timings:
    return interleaved(ways, rounds=2 if quick else 9)
