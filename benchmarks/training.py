"""Training steps of hybrids of transformers: packed documents against padding, and memory.

The models are those of `hybrids.py` with a few layers, as the original takes minutes for a step.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hybrids import FAMILIES, built
from table import Table, at_least, at_most
from torch import Tensor, nn

import trilby.transformers

LAYERS = {"Mamba-2": 6, "Mamba": 6}  # 4 else
PACKED = ("gated delta", "Falcon-H1", "Mamba-2")
SLOW = {"Mamba": 2, "kda": 2}  # layers: a step of these originals takes minutes with more
LENGTHS = tuple(range(64, 513, 64))  # of the documents
MEMORY_TOKENS = 512
ASKED = {"kda": 0.5}  # peak memory beside the original's, 1 else

PEAK = """
import sys, torch
sys.path.insert(0, sys.argv[1])
import training
print(training.grown(sys.argv[2], sys.argv[3] == "accelerated", int(sys.argv[4])))
"""


def packed(quick: bool) -> Table:
    """Eight documents in one row, accelerated, beside eight padded rows of the original."""
    return _beside_padding(quick, {family: LAYERS.get(family, 4) for family in PACKED})


def packed_slow(quick: bool) -> Table:
    """The same of the families whose originals are slowest, with two layers."""
    return _beside_padding(quick, SLOW)


def _beside_padding(quick: bool, families: dict[str, int]) -> Table:
    made, targets, lengths = [], [], (3, 8, 16) if quick else LENGTHS
    for family, layers in families.items():
        model = built(family, quick=True, layers=layers).train()
        ids = [torch.randint(5, 30_000, (n,), generator=_seed(n)) for n in lengths]
        seconds: dict[str, list[float]] = {"padded": [], "packed": []}
        for which in (ids[:2], ids, ids):  # two short ones first, untimed
            for way, found in seconds.items():
                took = _padded(model, which) if way == "padded" else _packed(model, which)
                if which is ids:
                    found.append(took)
        total = sum(lengths)
        speed = {way: total / median(found) for way, found in seconds.items()}
        times = median(a / b for a, b in zip(*seconds.values(), strict=True))
        made.append(
            {
                "family": family,
                "layers": layers,
                "original, padded rows: tokens a second": speed["padded"],
                "accelerated, packed: tokens a second": speed["packed"],
                "times": times,
            }
        )
        targets.append(at_least(f"{family}, times the tokens a second", 1.8, times))
    text = f"Documents of {', '.join(map(str, lengths))} tokens, forward and backward, float32."
    return Table("Hybrids of transformers, packed training", text, made, targets)


def memory(quick: bool) -> Table:
    """By how much the peak of a process grows in a training step."""
    made, targets, T = [], [], 32 if quick else MEMORY_TOKENS
    for family in FAMILIES:
        grew = {way: _grown(family, way, T) for way in ("original", "accelerated")}
        share = grew["accelerated"] / grew["original"]
        row = {f"{way} MiB": megabytes for way, megabytes in grew.items()}
        made.append({"family": family, **row, "accelerated / original": share})
        most = ASKED.get(family, 1)
        targets.append(at_most(f"{family}, of the original's peak", most, share))
    text = f"One row of {T} tokens, forward and backward with gradients; float32."
    return Table("Hybrids of transformers, memory of a training step", text, made, targets)


def small(family: str) -> nn.Module:
    return built(family, quick=True, layers=LAYERS.get(family, 4))


def grown(family: str, accelerated: bool, T: int) -> float:
    """MiB by which the peak of this process grows; a short step comes first."""
    model = small(family).train()
    if accelerated:
        trilby.transformers.accelerate(model)
    step(model, torch.arange(5, 13)[None])
    before = _peak()
    step(model, torch.randint(5, 30_000, (1, T), generator=_seed(T)))
    return _peak() - before


def step(model: nn.Module, ids: Tensor, labels: Tensor | None = None, **how: Any) -> None:
    labels = ids if labels is None else labels
    model(input_ids=ids, labels=labels, use_cache=False, **how).loss.backward()
    model.zero_grad()


def _padded(model: nn.Module, ids: list[Tensor]) -> float:
    rows = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=0)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(x) for x in ids], batch_first=True)
    begin = time.perf_counter()
    step(model, rows, rows.masked_fill(mask == 0, -100), attention_mask=mask)
    return time.perf_counter() - begin


def _packed(model: nn.Module, ids: list[Tensor]) -> float:
    """As the flattening collator of transformers has it."""
    row = torch.cat(ids)[None]
    positions = torch.cat([torch.arange(len(x)) for x in ids])[None]
    labels = torch.cat([torch.cat([x.new_full((1,), -100), x[1:]]) for x in ids])[None]
    with trilby.transformers.accelerated(model) as report:
        if not report:
            raise SystemExit(f"refused to time: {report}")
        begin = time.perf_counter()
        step(model, row, labels, position_ids=positions)
        return time.perf_counter() - begin


def _grown(family: str, way: str, T: int) -> float:
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-c", PEAK, folder, family, way, str(T)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _seed(n: int) -> torch.Generator:
    return torch.Generator().manual_seed(n)
