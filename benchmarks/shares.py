"""Where the time of accelerated hybrids goes: torch's matrix products, our kernels, the rest.

The profiler of torch tells what each operator took itself. Its own cost counts as the rest.
"""

from collections import Counter

import torch
from hybrids import FAMILIES, FEWER, WORK, built
from hybrids import run as runs
from table import Table
from torch import Tensor, nn

import trilby.transformers

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::mv", "aten::addmv")
ATTENTION = "aten::_scaled_dot_product"
TOKENS = {"prefill": 1024, "training": 512, "token": 29}


def table(quick: bool) -> Table:
    """Rows: a kind of work and a family each."""
    made = []
    for work in WORK:
        for family in FAMILIES:
            fewer = quick or (work == "training" and family in FEWER)
            model = built(family, fewer, 4 if quick else FEWER.get(family, 4))
            took = seconds(model, work, 16 if quick and work != "token" else TOKENS[work])
            total = sum(took.values())
            made.append(
                {"work": work, "family": family, "ms": 1e3 * total}
                | {f"{what}, %": 100 * took[what] / total for what in KINDS}
            )
    text = (
        "Time of each operator itself, as torch's profiler tells it; float32, accelerated. The "
        "work is that of the other tables; that of a token is 13 of them after a prompt of 16."
    )
    return Table("Hybrids of transformers, where the time goes", text, made)


KINDS = ("matrix products", "trilby", "attention of torch", "the rest")


def kind(name: str) -> str:
    """Which of the kinds an operator is."""
    if name in PRODUCTS:
        return KINDS[0]
    if name.startswith("trilby::"):
        return KINDS[1]
    return KINDS[2] if name.startswith(ATTENTION) else KINDS[3]


def seconds(model: nn.Module, work: str, tokens: int) -> Counter[str]:
    """Seconds of each kind in one run, after another one."""
    ids = torch.randint(5, 30_000, (1, tokens), generator=torch.Generator().manual_seed(0))
    model.train(work == "training")
    report = trilby.transformers.accelerate(model)
    if not report:
        raise SystemExit(f"refused to time: {report}")
    runs(work)(model, ids)
    return _profiled(model, work, ids)


def _profiled(model: nn.Module, work: str, ids: Tensor) -> Counter[str]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        runs(work)(model, ids)
    took: Counter[str] = Counter()
    for row in profile.key_averages():
        took[kind(row.key)] += row.self_cpu_time_total / 1e6
    return took
