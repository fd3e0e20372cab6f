"""docs/mutants.md: what each mutant breaks. `python -m tests.verify.page` writes it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trilby
from trilby.verify.judge import judge
from trilby.verify.laws import ACROSS as LAWS_ACROSS
from trilby.verify.laws import LAWS
from trilby.verify.mutants import MUTANTS, SHARDED, Mutant
from trilby.verify.mutants.page import ACROSS, across, head, row
from trilby.verify.ranks.processes import LONG, Processes
from trilby.verify.ranks.sharded import sharded_form
from trilby.verify.reports.report import Report
from trilby.verify.reports.verdict import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "mutants.md"
JUDGED = [name for name in LAWS if name != "padding"]  # mixers take no mask


def beside(mutant: Mutant, *healthy: str) -> trilby.Mixer:
    """The running mean with its scan replaced by a mutant, and some forms as they are."""
    kept = {name: trilby.mean.forms[name] for name in ("loop", *healthy)}
    return replace(trilby.mean, forms=kept | {"scan": mutant.call})


def judged(mutant: Mutant, laws: Sequence[str] = JUDGED) -> Report:
    """Laws, every one unless some are given, on one mutant."""
    return trilby.check(beside(mutant), forms=["scan"], laws=laws, effort="quick")


def in_pieces(mutant: Mutant, ranks: Processes) -> Verdict:
    """The law `shards` on one mutant of it, at effort "quick"."""
    mixer = trilby.MIXERS[mutant.of]
    mixer = replace(mixer, forms={"loop": mixer.loop, "shard": mutant.call})
    subject, law = sharded_form(mixer, ranks.world, ranks), LAWS_ACROSS["shards"]
    settings = law.mixer_settings("quick", subject)
    if mutant.kind == "hangs":  # each try takes as long as a call is waited for
        settings = [replace(settings[0], T=2, B=1, C=1, pieces=(0, 2))]
    return judge(subject, law, settings)


def kinds(patience: float) -> dict[str, str]:
    """Name of a mutant of `shards` -> what the law says is wrong; one of them waits for so long."""
    with Processes(2, LONG) as ranks:
        found = {n: in_pieces(m, ranks).kind for n, m in SHARDED.items() if m.kind != "hangs"}
    with Processes(2, patience) as hasty:
        found |= {n: in_pieces(m, hasty).kind for n, m in SHARDED.items() if m.kind == "hangs"}
    return {name: found[name] for name in SHARDED}


def rows_across(found: dict[str, str]) -> str:
    """The second table of the page."""
    return ACROSS + "".join(across(SHARDED[name], kind) for name, kind in found.items())


if __name__ == "__main__":
    rows = [row(mutant, judged(mutant), JUDGED) for mutant in MUTANTS.values()]
    PAGE.write_text(head(JUDGED) + "".join(rows) + rows_across(kinds(6)), encoding="utf-8")
