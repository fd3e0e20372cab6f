"""Two processes against one: `python benchmarks/sharding.py [--quick] [--positions N] [--only M]`.

Starts two processes with a thread each, as a group over gloo on this machine. For every mixer the
first one draws the whole sequence; each round takes the time of one process with all of it and of
both with half of it, in turn, while the other process waits in its sleep. Before that y, the state
and the gradients of both are compared with float64 in one process. What is sent is counted and
compared with the formula. It writes `sharding-DATE.json`, from which `--page` writes `sharding.md`.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

import trilby
from trilby.bench.clock import Timings, clocked, rotated
from trilby.bench.proof import Answer, compare
from trilby.comm import counted, formula
from trilby.env import machine

RESULTS = Path(__file__).parent / "results"
GOAL, WITHIN = 1.6, 1.1
"""Times one process that the linear mixers are to reach, and bytes over those of the formula."""
SIZES: dict[str, dict[str, int]] = {  # numbers of a position, so that all fit into memory
    "mean": dict(B=1, C=128),
    "ema": dict(B=1, C=128),
    "weighted": dict(B=1, C=128),
    "linear": dict(B=1, H=8, K=16, V=16),
    "decay": dict(B=1, H=8, K=16, V=16),
    "selective": dict(B=1, C=128, N=16),
    "delta": dict(B=1, H=8, K=16, V=16),
    "kda": dict(B=1, H=8, K=16, V=16),
    "conv": dict(B=1, C=128, W=4),
}
REFERENCE = {
    "conv": "chunk",
    "selective": "scan",
    "mean": "scan",
    "ema": "scan",
    "weighted": "scan",
}
PROOF = 1 << 14  # positions that are compared in float64; a longer call of the same is timed

DRAWN = 1 << 17  # positions that are drawn at once


class Case:
    """One mixer on one rank: the whole sequence on the first one, and a piece on each."""

    def __init__(self, name: str, positions: int, backward: bool) -> None:
        self.mixer, self.backward = trilby.MIXERS[name], backward
        self.given = drawn(self.mixer, positions, SIZES[name])
        rank, size = dist.get_rank(), dist.get_world_size()
        self.lengths = [positions // size] * (size - 1) + [
            positions - positions // size * (size - 1)
        ]
        at = slice(sum(self.lengths[:rank]), sum(self.lengths[: rank + 1]))
        names = self.mixer.contract.sequences
        every = list(zip(self.mixer.contract.arguments, self.given, strict=False))
        self.timed = [n in names for n, _ in every]
        self.piece = tuple(x[:, at].contiguous() if n in names else x for n, x in every)
        torch.manual_seed(0)
        y = self.mixer.contract.named(self.given)[self.mixer.contract.values]
        self.dy = torch.randn(y.shape) if backward else y[:, :0]
        self.above = self.dy[:, at].contiguous()
        if rank:  # the first one alone is asked for the whole
            self.given = self.dy = ()

    def whole(self) -> None:
        """One process with all of it."""
        self._call(self.mixer.local, self.given, self.dy)

    def shared(self) -> None:
        """This rank's part of both; it ends when both are done."""
        self._call(self.mixer.shard, self.piece, self.above)
        dist.barrier()

    def _call(self, form: Callable[..., Any], given: Any, dy: Tensor) -> Any:
        if not self.backward:
            with torch.no_grad():
                return form(*given)
        return _answer(form, given, dy)

    def verdict(self) -> str:
        """What the first rank says of y, the state and the gradients; "" on the others.

        Raises:
            SystemExit: they are not those of one process.
        """
        found = self._call(self.mixer.shard, self.piece, self.above)
        y, state, *gradients = (*found[:2], *(found[2] if self.backward else ()))
        parts = [_gathered(y)]
        for d, sequence in zip(gradients, self.timed, strict=False):
            parts.append(_gathered(d) if sequence else _summed(d))
        if dist.get_rank():
            return ""
        form = self.mixer.forms[REFERENCE.get(self.mixer.name, "chunk")]
        if self.backward:
            answer = Answer(parts[0], state, parts[1:])
            said = compare(lambda *g: _answer(form, g[:-1], g[-1]), lambda *_: answer,
                           *self.given, self.dy)  # fmt: skip
        else:
            said = compare(form, lambda *_: (parts[0], state), *self.given)
        if not said:
            raise SystemExit(f"{self.mixer.name}: no times, as {said.sentence}")
        return said.sentence


def drawn(mixer: Any, positions: int, sizes: dict[str, int]) -> tuple[Tensor, ...]:
    """Arguments of many positions; the random numbers of all at once would not fit into memory."""
    names = mixer.contract.sequences
    parts = [
        mixer.draw(T=min(DRAWN, positions - at), seed=at, **sizes)
        for at in range(0, positions, DRAWN)
    ]
    every = zip(mixer.contract.arguments, zip(*parts, strict=True), strict=False)
    return tuple(torch.cat(some, 1) if name in names else some[0] for name, some in every)


def _answer(form: Callable[..., Any], given: Any, dy: Tensor) -> Answer:
    own = [x.detach().requires_grad_() for x in given]
    y, state = form(*own)
    return Answer(y.detach(), state, list(torch.autograd.grad(y, own, dy)))


def _gathered(x: Tensor) -> Tensor:
    """Pieces of every rank, in order."""
    if dist.get_rank():
        dist.send(x.contiguous(), 0)
        return x
    parts = [x, *(torch.empty_like(x) for _ in range(dist.get_world_size() - 1))]
    for rank, part in enumerate(parts[1:], 1):
        dist.recv(part, rank)
    return torch.cat(parts, 1)


def _summed(x: Tensor) -> Tensor:
    total = x.clone()
    dist.all_reduce(total)
    return total


def taken(name: str, positions: int, rounds: int, backward: bool) -> dict[str, Any]:
    """The times of one mixer, on the first rank."""
    said = Case(name, min(positions, PROOF), backward).verdict()
    case = Case(name, positions, backward)
    ways = {"one": case.whole, "two": case.shared}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(-1, rounds):
        for way in rotated(list(ways), turn % 2):
            dist.barrier()
            if way == "one" and dist.get_rank():
                continue
            took = clocked(ways[way])
            if turn >= 0:
                seconds[way].append(took)
    with counted() as there:
        case.shared()
    call = formula.Call(case.mixer.contract, SIZES[name], case.lengths)
    want = formula.sent(call, dist.get_rank())[: 1 + backward]
    said_of = [sum(w.bytes for w in want), sum(w.messages for w in want)]
    sent = torch.tensor([there.bytes, there.messages, *said_of])
    every = [torch.empty_like(sent) for _ in case.lengths]
    dist.all_gather(every, sent)
    timings = Timings(seconds)
    told = {"verdict": said, "sizes": SIZES[name], "backward": backward}
    told |= {"sent": [dict(zip(("bytes", "messages", "formula bytes", "formula messages"),
                               x.tolist(), strict=True)) for x in every]}  # fmt: skip
    return told | {"ways": timings.as_dict("one") if seconds["one"] else {}, "seconds": seconds}


def rank_of(given: Any) -> None:
    """What one process of the group does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    tables = {}
    for name in given.only or SIZES:
        for backward in (False, True):
            found = taken(name, given.positions, given.rounds, backward)
            if not dist.get_rank():
                tables[f"{name}{' and back' * backward}"] = found
                print(line(name + " and back" * backward, found), flush=True)
            torch.manual_seed(0)
    if not dist.get_rank():
        here = machine()
        del here["cache"]
        told = {"schema": "trilby.sharding/1", "positions": given.positions, "machine": here}
        told |= {"taken": datetime.now(UTC).isoformat(timespec="minutes"), "load": os.getloadavg()}
        Path(given.into).write_text(json.dumps(told | {"tables": tables}, indent=1) + "\n", "utf-8")
    dist.barrier()
    dist.destroy_process_group()


def line(name: str, found: dict[str, Any]) -> str:
    """One row of the table."""
    ways = found["ways"]
    one, two, times = ways["one"]["median_s"], ways["two"]["median_s"], ways["two"]["times_one"]
    over = max(s["bytes"] / s["formula bytes"] for s in found["sent"])
    sent = max(s["bytes"] for s in found["sent"])
    return f"| `{name}` | {one * 1e3:.0f} | {two * 1e3:.0f} | {times:.2f} | {sent} | {over:.2f} |"


def page(told: dict[str, Any]) -> str:
    """The Markdown of one result."""
    head = (
        f"# Figures of two processes\n\nTwo processes with a thread each against one, "
        f"{told['positions']} positions, float32, on {told['machine']['cpu']}, "
        f"{told['taken']}. The goal for mixers of linear time is {GOAL} times, and no more than "
        f"{WITHIN} times the bytes of the formula. Every row was compared with float64 before.\n\n"
        "| mixer | one process, ms | two, ms | times | bytes sent by a rank | over the formula |\n"
        "|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(line(name, found) for name, found in told["tables"].items()) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--positions", type=int, default=1 << 20, help="T [2^20]")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", action="append", choices=list(SIZES), help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="few positions; writes nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--into", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.into:
        rank_of(given)
        return
    if given.quick:
        given.positions, given.rounds = min(given.positions, 1 << 14), 2
    command = [__file__, "--positions", str(given.positions), "--rounds", str(given.rounds)]
    told = told_by(command + [part for name in given.only or () for part in ("--only", name)])
    if not given.quick:
        given.out.mkdir(parents=True, exist_ok=True)
        day = datetime.now(UTC).date().isoformat()
        (given.out / f"sharding-{day}.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        (given.out / "sharding.md").write_text(page(told), "utf-8")


def told_by(command: list[str]) -> Any:
    """What two processes of a Python program write as JSON to the file that `--into` names."""
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "told.json"
        _start([*command, "--into", str(into)])
        return json.loads(into.read_text("utf-8"))


def _start(command: list[str]) -> None:
    """Two processes of a Python program as a group; an error of one ends this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    told |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    both = [
        subprocess.Popen([sys.executable, *command], env=os.environ | told | {"RANK": str(rank)})
        for rank in range(2)
    ]
    ended = [one.wait() for one in both]
    if any(ended):
        raise SystemExit(f"the processes ended with {ended}")


if __name__ == "__main__":
    main()
