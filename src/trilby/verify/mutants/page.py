"""The table of mutants and laws, in Markdown."""

from collections.abc import Iterable

from ..reports.report import Report
from .wrong import Mutant

HEAD = """# The mutants

A mutant is a running mean with one fault. The mutants show that each law can fail: a test that
never fails shows nothing. **first** marks the first law that breaks, in the order of the laws; it
names the cause. *then* marks a law that breaks as a result. `python -m tests.verify.page` writes
this page, and a test compares it with a new run.

"""

ACROSS = """
## Of a sequence on several processes

They are forms `shard` with one fault, most of them a running mean that gathers the sums of all
ranks, two a convolution. The law [shards](laws/shards.md) starts two processes and names the cause.

| mutant | fault | cause |
|---|---|---|
"""


def across(mutant: Mutant, kind: str) -> str:
    """What the law `shards` says of a mutant."""
    return f"| `{mutant.name}` | {mutant.fault} | {kind} |\n"


def head(laws: Iterable[str]) -> str:
    """What stands above the rows."""
    names = list(laws)
    titles = ["mutant", "fault", "cause", *names]
    return f"{HEAD}| {' | '.join(titles)} |\n|---|---|---|{':-:|' * len(names)}\n"


def row(mutant: Mutant, report: Report, laws: Iterable[str]) -> str:
    """What one mutant breaks."""
    broken = [v.law for v in report.failed()]
    marks = dict.fromkeys(broken, "*then*") | dict.fromkeys(broken[:1], "**first**")
    kind = report.first()[0].kind if broken else ""
    cells = [f"`{mutant.name}`", mutant.fault, kind, *(marks.get(law, "") for law in laws)]
    return f"| {' | '.join(cells)} |\n"
