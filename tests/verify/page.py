"""docs/mutants.md: what each mutant breaks. `python -m tests.verify.page` writes it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trilby
from trilby.verify.laws import LAWS
from trilby.verify.mutants import MUTANTS, Mutant
from trilby.verify.mutants.page import head, row
from trilby.verify.reports.report import Report

PAGE = Path(__file__).parents[2] / "docs" / "mutants.md"
JUDGED = [name for name in LAWS if name != "padding"]  # mixers take no mask


def beside(mutant: Mutant, *healthy: str) -> trilby.Mixer:
    """The running mean with its scan replaced by a mutant, and some forms as they are."""
    kept = {name: trilby.mean.forms[name] for name in ("loop", *healthy)}
    return replace(trilby.mean, forms=kept | {"scan": mutant.call})


def judged(mutant: Mutant, laws: Sequence[str] = JUDGED) -> Report:
    """Laws, every one unless some are given, on one mutant."""
    return trilby.check(beside(mutant), forms=["scan"], laws=laws, effort="quick")


if __name__ == "__main__":
    rows = [row(mutant, judged(mutant), JUDGED) for mutant in MUTANTS.values()]
    PAGE.write_text(head(JUDGED) + "".join(rows), encoding="utf-8")
