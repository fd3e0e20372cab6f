"""A model of what a call costs on many ranks: `python benchmarks/cost.py [--quick]`.

Two processes with a thread each measure messages of many sizes, and a pass over pieces of several
lengths. Least squares give the seconds of a message, of a byte, and for each mixer of a call, of a
position and of what a segment adds. Measurements and constants go to `sharding-cost.json`, from
which `docs/pictures/sharding.py` draws.
"""

import argparse
import json
import os
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from math import ceil, log2
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import torch.distributed as dist
from sharding import RESULTS, SIZES, drawn, told_by
from torch import Tensor

import trilby
from trilby.bench.clock import clocked
from trilby.comm import chain, dealing, formula
from trilby.comm.agreement import SIZE
from trilby.comm.ranks import Ranks
from trilby.env import machine

MIXERS = ("mean", "decay", "delta", "conv", "attention")
ATTENTION = dict(B=1, H=4, K=64, V=64)
MESSAGES = [1 << n for n in range(6, 23, 2)]  # bytes
LENGTHS = (1 << 13, 1 << 14, 1 << 15)  # positions of a piece; of attention an eighth of them
ROUNDS = 3


class Machine(NamedTuple):
    """Seconds of a message and of a byte."""

    message: float
    byte: float


class Pass(NamedTuple):
    """Seconds of a mixer: of a call, of a position (of a pair of attention), of its segment."""

    call: float
    position: float
    segment: float


def sizes_of(name: str) -> dict[str, int]:
    """What a position of a mixer has."""
    return ATTENTION if name == "attention" else SIZES[name]


def seconds(name: str, ranks: int, positions: int, here: Machine, cost: Pass) -> float:
    """The time of one call without gradients on equal pieces, by the model.

    Nothing is done at once: a rank computes or sends. Every rank takes part in a gather of what the
    ranks say of their call, which is a ring of n - 1 messages, and in a broadcast, which is a tree.

    >>> free = Machine(0.0, 0.0)
    >>> seconds("conv", 4, 4000, free, Pass(0.0, 1e-6, 0.0))
    0.001
    """
    piece = ceil(positions / ranks)
    call = formula.Call(trilby.MIXERS[name].contract, sizes_of(name), [piece] * ranks, slots=0)
    state = sum(n * dtype.itemsize for n, dtype in call.state())
    if ranks == 1:
        work = piece * (piece + 1) / 2 if name == "attention" else piece
        return cost.call + work * cost.position
    spent = (ranks - 1) * (here.message + SIZE * here.byte)
    spent += ceil(log2(ranks)) * (here.message + state * here.byte)
    if name == "attention":
        return spent + _ring(call, piece, here, cost)
    local = cost.call + piece * cost.position
    if name == "conv":
        sizes = call.sizes
        halo = (sizes["W"] - 1) * sizes["B"] * sizes["C"] * call.dtype.itemsize
        return spent + local + here.message + halo * here.byte
    blocks = len(call.cut().bounds)
    if blocks > 1:
        steps, each = blocks + ranks - 1, here.message + state / blocks * here.byte
        return spent + local * steps / blocks + steps * each
    steps = ceil(log2(ranks - 1)) + 1 if ranks > 2 else 1
    return spent + local + piece * cost.segment + steps * (here.message + 2 * state * here.byte)


def _ring(call: formula.Call, piece: int, here: Machine, cost: Pass) -> float:
    """Equal pieces that swap their second halves, or do not where that costs more than it saves."""
    n, s = len(call.lengths), call.sizes
    each = call.dtype.itemsize * s["B"] * s["H"]
    pair, own = each * (s["K"] + s["V"]), each * (2 * s["K"] + 2 * s["V"])
    even = piece * (n - 1) >= dealing.PAIRS
    work = piece * piece * (n / 2 if even else n - 0.5)
    passed = (n - 1) * (here.message + piece * pair * here.byte)
    swapped = even * (2 * here.message + piece // 2 * own * here.byte)
    return passed + swapped + n * cost.call + work * cost.position


def fitted(rows: Sequence[Sequence[float]], taken: Sequence[float]) -> list[float]:
    """Least squares of relative errors; no constant is below 0.

    >>> [round(x, 6) for x in fitted([[1, 1], [1, 2], [1, 4]], [3.0, 5.0, 9.0])]
    [1.0, 2.0]
    """
    known = torch.tensor(rows, dtype=torch.float64) / torch.tensor(taken)[:, None].double()
    found = torch.linalg.lstsq(known, torch.ones(len(taken), 1, dtype=torch.float64)).solution
    return [max(0.0, float(x)) for x in found.flatten()]


def model(told: dict[str, Any]) -> tuple[Machine, dict[str, Pass]]:
    """The constants of measurements."""
    sent = told["messages"]
    here = Machine(*fitted([[1, m["bytes"]] for m in sent], [m["seconds"] for m in sent]))
    passes = {}
    for name in told["mixers"]:
        runs = told["mixers"][name]
        work = [r["positions"] * (r["positions"] + 1) / 2 if name == "attention" else r["positions"]
                for r in runs]  # fmt: skip
        call, position = fitted([[1, w] for w in work], [r["call"] for r in runs])
        more = [(r["positions"], r["segment"]) for r in runs if "segment" in r]
        whole = fitted([[1, n] for n, _ in more], [t for _, t in more])[1] if more else position
        passes[name] = Pass(call, position, max(0.0, whole - position))
    return here, passes


def best(way: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Seconds, the median of some rounds after one that does not count."""
    way()
    return statistics.median(clocked(way) for _ in range(rounds))


def rank_of(given: Any) -> None:
    """What one process of the group measures; the first one tells."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), Ranks("cost")
    sent = []
    for n in MESSAGES:
        dist.barrier()
        taken = best(partial(there_and_back, ranks, torch.zeros(n, dtype=torch.uint8)))
        sent.append({"bytes": n, "seconds": taken / 2})
    mixers = {name: passes(name, LENGTHS[: 2 if given.quick else None]) for name in MIXERS}
    if not rank:
        here = machine()
        del here["cache"]
        told = {"schema": "trilby.sharding-cost/1", "machine": here, "load": os.getloadavg()}
        told |= {"taken": datetime.now(UTC).isoformat(timespec="minutes")}
        told |= {"messages": sent, "mixers": mixers}
        Path(given.into).write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    dist.barrier()
    dist.destroy_process_group()


def there_and_back(ranks: Ranks, full: Tensor) -> None:
    """One message from the first rank to the second, and one back."""
    device, shapes = full.device, [(tuple(full.shape), full.dtype)]
    if ranks.rank:
        ranks.exchanged([], None, shapes, 0, device)
        ranks.exchanged([full], 0, [], None, device)
    else:
        ranks.exchanged([full], 1, [], None, device)
        ranks.exchanged([], None, shapes, 1, device)


def passes(name: str, lengths: Sequence[int]) -> list[dict[str, float]]:
    """Seconds of a plain call of pieces, and of one that makes its segment before."""
    mixer, found = trilby.MIXERS[name], []
    for length in lengths:
        n = length // 8 if name == "attention" else length
        given = drawn(mixer, n, sizes_of(name))
        with torch.no_grad(), mock.patch.object(chain, "LONG", 1 << 62):
            row = {"positions": n, "call": best(partial(mixer.local, *given))}
            if name in formula.KEEP:
                dist.barrier()
                row["segment"] = best(partial(mixer.shard, *given))
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="shorter pieces")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--into", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.into:
        rank_of(given)
        return
    told = told_by([__file__, *["--quick"] * given.quick])
    here, costs = model(told)
    told |= {"fitted": {"machine": here._asdict()}}
    told["fitted"] |= {"mixers": {name: cost._asdict() for name, cost in costs.items()}}
    print(json.dumps(told["fitted"], indent=1))
    if not given.quick:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "sharding-cost.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
