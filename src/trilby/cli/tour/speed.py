"""Timings of the fused form, a plain copy and cumsum, in turn, after the fused form is verified."""

from collections.abc import Callable

import torch

from ...bench import interleaved
from ...mixers import mean
from ...verify import same
from ..screen import Screen

SHAPE = (4, 2048, 512)
ROUNDS = 9


def race(screen: Screen) -> None:
    """Medians of interleaved rounds; a form is timed only if its result is right."""
    x = torch.randn(*SHAPE, generator=torch.Generator().manual_seed(0))
    y = torch.empty_like(x)
    n = torch.arange(1, SHAPE[1] + 1)[:, None]
    verdict = same(mean.scan, mean.fused, x[:1, :, :32], gradients=False)  # what is timed
    screen.line(
        f"x {list(SHAPE)} float32. First: is fused equal to scan on [1, {SHAPE[1]}, 32] of it?"
    )
    screen.line(f"  {verdict}")
    if not verdict:
        screen.line("  not timed, because its result is wrong")
        return
    ways: dict[str, Callable[[], object]] = {
        "y.copy_(x)": lambda: y.copy_(x),
        "trilby.mean(x)": lambda: mean.MIXER(x),
        "torch.cumsum(x, 1) / n": lambda: torch.cumsum(x, 1) / n,
    }
    timed(screen, ways, "copies", rounds=ROUNDS)


def timed(screen: Screen, ways: dict[str, Callable[[], object]], unit: str, *, rounds: int) -> None:
    """The median of each way in interleaved rounds, and its ratio to the first."""
    timings = interleaved(ways, rounds=rounds)
    first = timings.median(next(iter(ways)))
    screen.line()
    for name in ways:
        middle = timings.median(name)
        screen.line(f"  {name:24} {1e3 * middle:8.2f} ms   {middle / first:6.1f} {unit}")
