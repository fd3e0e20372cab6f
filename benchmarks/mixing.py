"""`trilby mix` from csv to csv beside pandas and polars: whole processes, in pairs."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from table import Table, at_least, at_most

from trilby.bench import Timings, interleaved

OURS, PANDAS, POLARS, TORCH = "trilby mix mean", "pandas", "polars", "import torch"
SCRIPTS = {
    PANDAS: "import pandas as pd; pd.read_csv({given!r}).expanding().mean()"
    ".to_csv({made!r}, index=False)",
    POLARS: "import polars as pl; n = pl.int_range(1, pl.len() + 1); pl.read_csv({given!r})"
    ".select(pl.all().cum_sum() / n).write_csv({made!r})",
    TORCH: "import torch",
}
SMALL, LARGE, COLUMNS = 1_000, 1_000_000, 3


def table(quick: bool) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        small, spent, few = _timed(Path(folder), SMALL, 1 if quick else 7)
        large, used, many = _timed(Path(folder), 10 * SMALL if quick else LARGE, 1 if quick else 3)
    beyond, times = "beyond import torch", "times faster than pandas at 1,000,000 rows"
    targets = [
        at_most(f"s: 1,000 rows, {beyond}", 0.5, _more(small)),
        at_most(f"s of processor time: 1,000 rows, {beyond}", 0.5, _more(spent)),
        at_least(times, 1, large.times(OURS, PANDAS)),
        at_least(f"{times}, processor time", 1, used.times(OURS, PANDAS)),
    ]
    setup = (
        f"Running means of {COLUMNS} columns of random numbers, whole processes in turn, "
        f"{small.rounds} rounds with {SMALL} rows and {large.rounds} with {LARGE}; the processor "
        "time is that of all threads, and says more where the machine is busy."
    )
    verdicts = ["the files of pandas and polars hold the same numbers as ours, to 1e-9"]
    return Table("From csv to csv", setup, [*few, *many], targets, verdicts)


def _more(timings: Timings) -> float:
    pairs = zip(timings.seconds[OURS], timings.seconds[TORCH], strict=True)
    return statistics.median(ours - torch for ours, torch in pairs)


def _timed(folder: Path, rows: int, rounds: int) -> tuple[Timings, Timings, list[dict[str, Any]]]:
    """The times of every way on the clock and of the processor, and a row of the table for each."""
    given = folder / f"x{rows}.csv"
    numbers = np.random.default_rng(0).standard_normal((rows, COLUMNS))
    np.savetxt(given, numbers, "%.17g", ",", header="a,b,c", comments="")
    processor: dict[str, list[float]] = {}
    ways, made = {}, {}
    for name in (OURS, *SCRIPTS):
        made[name] = str(folder / f"{name.split()[0]}.csv")
        said = ["-m", *OURS.split(), str(given), "-o", made[name]]
        if name in SCRIPTS:
            said = ["-c", SCRIPTS[name].format(given=str(given), made=made[name])]
        ways[name] = _process(said, processor.setdefault(name, []))
    timings = interleaved(ways, rounds=rounds, warmup=1)
    wanted = np.loadtxt(made[OURS], delimiter=",", skiprows=1)
    for name in (PANDAS, POLARS):
        found = np.loadtxt(made[name], delimiter=",", skiprows=1)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    spent = Timings({name: each[1:] for name, each in processor.items()})  # without the warm-up
    found = []
    for name in ways:
        lower, upper = timings.quartiles(name)
        found.append(
            {
                "rows": rows,
                "process": name,
                "median s": timings.median(name),
                "lower": lower,
                "upper": upper,
                "processor s": spent.median(name),
                "its time over ours": timings.times(OURS, name),
                "its processor time over ours": spent.times(OURS, name),
            }
        )
    return timings, spent, found


def _process(arguments: list[str], spent: list[float]) -> Callable[[], object]:
    """A fresh interpreter that may write its bytecode; its processor time is added to `spent`."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def run() -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *arguments], env=kept, stderr=subprocess.DEVNULL, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    return run
