"""Forward against a copy of the same bytes, which nothing that reads x and writes y can outrun."""

import torch
from inputs import drawn, setup
from table import COPY, OURS, Table, at_least, judged, rows

import trilby
from trilby.bench import interleaved


def single(quick: bool) -> Table:
    return _table("Forward against a copy", torch.float32, 0.8, quick)


def brain(quick: bool) -> Table:
    return _table("bfloat16 against a copy", torch.bfloat16, 0.5, quick)


def _table(title: str, dtype: torch.dtype, least: float, quick: bool) -> Table:
    """Beside a copy into memory that is there, and a clone, which has to get memory as ours has."""
    x = drawn(quick, dtype)
    y, verdicts = torch.empty_like(x), judged(x)
    ways = {OURS: lambda: trilby.mean(x), COPY: lambda: y.copy_(x), "x.clone()": x.clone}
    timings = interleaved(ways, rounds=3 if quick else 41)
    targets = [at_least("speed of the copy", least, timings.times(OURS, COPY))]
    return Table(title, setup(x, timings.rounds), rows(timings), targets, verdicts)
