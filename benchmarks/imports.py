"""What a user waits for before the first result: fresh processes, in pairs."""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable

from table import Table, at_most

from trilby.bench import Timings, interleaved

TORCH = "import torch"
TRILBY = "import torch; import trilby; trilby.mean"
NUMBA = "import torch; import trilby; import numba; trilby.mean"
FIRST = NUMBA + "(torch.ones(1, 2, 1))"
# As after `pip install trilby`, which brings no scipy; where there is one, numba imports it.
ALONE = "import sys; sys.modules['scipy'] = None; "
END = "; import os; os._exit(0)"  # the result is there; what taking down numba costs comes later
HELP = "trilby --help"
BARE = "python -c pass"


def table(quick: bool) -> Table:
    lines = (TORCH, TRILBY, NUMBA, FIRST, ALONE + NUMBA, ALONE + FIRST)
    ways = {line: _python("-c", line + END) for line in lines}
    ways |= {HELP: _python("-m", "trilby", "--help"), BARE: _python("-c", "pass")}
    timings = interleaved(ways, rounds=1 if quick else 15, warmup=1)
    made = []
    for way in ways:
        lower, upper = timings.quartiles(way)
        median = timings.median(way)
        made.append({"process": f"`{way}`", "median s": median, "lower": lower, "upper": upper})
    targets = [
        at_most(
            "s: import trilby and trilby.mean, beyond import torch",
            0.15,
            _beyond(timings, TRILBY, TORCH),
        ),
        at_most("s: trilby --help", 0.3, timings.median(HELP)),
        at_most(
            "s: the first fused call, warm cache, beyond importing numba",
            0.3,
            _beyond(timings, ALONE + FIRST, ALONE + NUMBA),
        ),
        at_most(
            "s: the same where scipy is installed",
            0.3,
            _beyond(timings, FIRST, NUMBA),
        ),
    ]
    setup = (
        f"Processes from their start to the end of the line, {timings.rounds} rounds in turn, "
        "bytecode and kernels cached; a difference is the median of the rounds' own differences."
    )
    return Table("Start", setup, made, targets)


def _beyond(timings: Timings, way: str, base: str) -> float:
    pairs = zip(timings.seconds[way], timings.seconds[base], strict=True)
    return statistics.median(a - b for a, b in pairs)


def _python(*arguments: str) -> Callable[[], object]:
    """A fresh interpreter that may write its bytecode, as an ordinary one does."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, env=kept, stdout=subprocess.DEVNULL, check=True)
