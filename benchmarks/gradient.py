"""Forward and backward, float32, against cumsum / n as eager and as compiled."""

import torch
from inputs import cumsum_over_n, drawn, setup
from table import Table, at_least, judged, rows

import trilby
from trilby.bench import interleaved
from trilby.bench.forms import call

OURS = "trilby.mean(x), backward"
EAGER = "torch.cumsum(x, 1) / n, backward"
COMPILED = "torch.compile of the same, backward"
COPIES = "y.copy_(x), twice"


def table(quick: bool) -> Table:
    x = drawn(quick)
    dy, y = drawn(quick).flip(1), torch.empty_like(x)
    verdicts = judged(x, dy)
    n = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
    compiled = torch.compile(cumsum_over_n)
    ways = {
        OURS: call(trilby.mean, (x,), dy),
        EAGER: call(lambda x: (cumsum_over_n(x, n),), (x,), dy),
        COMPILED: call(lambda x: (compiled(x, n),), (x,), dy),
        COPIES: lambda: (y.copy_(x), y.copy_(dy)),
    }
    (ours,) = ways[OURS]()
    told = {OURS: _apart(0.0), COPIES: _apart("")}
    for name in (EAGER, COMPILED):
        (gradient,) = ways[name]()
        apart = (gradient.double() - ours.double()).abs()
        if not bool((apart <= _bound(dy)).all()):
            raise SystemExit(f"refused to time {name}: its gradient is not ours")
        told[name] = _apart(float(apart.max()))
    timings = interleaved(ways, rounds=2 if quick else 15)
    targets = [
        at_least(f"times faster than {w}", 8, timings.times(OURS, w)) for w in (EAGER, COMPILED)
    ]
    made = rows(timings, OURS, told)
    return Table("Forward and backward", setup(x, timings.rounds), made, targets, verdicts)


def _bound(dy: torch.Tensor) -> torch.Tensor:
    """What a plain sum of dy / n from the end may be wrong by: (T + 3) eps times that of |dy|."""
    T = dy.shape[1]
    shares = dy.double().abs() / torch.arange(1, T + 1)[:, None]
    return (T + 3) * torch.finfo(dy.dtype).eps * shares.flip(1).cumsum(1).flip(1)


def _apart(value: object) -> dict[str, object]:
    return {"largest difference from our gradient": value}
