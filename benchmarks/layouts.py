"""Other shapes and strides, each against a copy of the same memory."""

import torch
from table import COPY, OURS, Table, at_least, judged, rows

import trilby
from trilby.bench import interleaved

LEAST = 0.5  # of a copy's speed: said to "run well", without a figure of its own


def table(quick: bool) -> Table:
    made, targets, verdicts = [], [], []
    for name, x in drawn(256 if quick else 1).items():
        verdicts += [f"{name}: {sentence}" for sentence in judged(x)]
        y = torch.empty_like(x)
        ways = {OURS: lambda x=x: trilby.mean(x), COPY: lambda x=x, y=y: y.copy_(x)}
        timings = interleaved(ways, rounds=3 if quick else 15)
        made += [{"layout": name, "x": str(list(x.shape)), **row} for row in rows(timings)]
        targets.append(at_least(f"speed of a copy, {name}", LEAST, timings.times(OURS, COPY)))
    setup = "float32, medians of rounds in turn; the copy keeps the strides of x."
    return Table("Layouts", setup, made, targets, verdicts)


def drawn(less: int) -> dict[str, torch.Tensor]:
    """8 Mi elements each, or that many times less."""
    T = (1 << 23) // less

    def x(B: int, T: int, C: int) -> torch.Tensor:
        return trilby.mean.draw(B=B, T=T, C=C)[0]

    return {
        "one row": x(1, T // 512, 512),
        "eight single series": x(8, T // 8, 1),
        "one single series": x(1, T, 1),
        "time contiguous": x(4, 512, T // 2048).mT,
    }
