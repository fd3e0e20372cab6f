"""One position at a time through the public call, as a stream does."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from table import Table, at_most, judged, rows

import trilby
from trilby.bench import Timings, interleaved

CALLS = 100  # in a row, inside one context
OURS = "trilby.mean(x, state), no_grad"


def table(quick: bool) -> Table:
    x = torch.randn(8, 1, 512, generator=torch.Generator().manual_seed(0))
    verdicts = judged(x)
    _, state = trilby.mean(x)
    plain = Plain(x)
    ways = {
        OURS: _many(lambda: trilby.mean(x, state), torch.no_grad()),
        "trilby.mean(x, state), grad mode": _many(lambda: trilby.mean(x, state), nullcontext()),
        "trilby.mean.step(x, state), no_grad": _many(
            lambda: trilby.mean.step(x, state), torch.no_grad()
        ),
        "trilby.mean.fused(x, state), no_grad": _many(
            lambda: trilby.mean.fused(x, state), torch.no_grad()
        ),
        "three lines of torch, no_grad": _many(lambda: plain(x), torch.no_grad()),
    }
    timings = interleaved(ways, rounds=3 if quick else 31)
    each = Timings({way: [s / CALLS for s in taken] for way, taken in timings.seconds.items()})
    targets = [
        at_most(f"us, {mode}", 40, 1e6 * each.median(f"trilby.mean(x, state), {mode}"))
        for mode in ("no_grad", "grad mode")
    ]
    setup = (
        f"x {list(x.shape)} float32 with a state, {CALLS} calls in a row, {each.rounds} rounds; "
        f"`trilby.mean.best(x)` is `{trilby.mean.best(x)}`."
    )
    return Table("One step", setup, rows(each, OURS, unit=("us", 1e6)), targets, verdicts)


class Plain:
    """What one would write by hand: no checks, no float64, one count for all rows."""

    def __init__(self, x: torch.Tensor):
        self.total, self.count = torch.zeros_like(x[:, 0]), 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.total = self.total + x[:, 0]
        self.count += 1
        return self.total / self.count


def _many(
    call: Callable[[], object], context: AbstractContextManager[object]
) -> Callable[[], None]:
    def way() -> None:
        with context:
            for _ in range(CALLS):
                call()

    return way
