"""The mutants before the laws: which laws break for which; `python -m tests.court.table` writes."""

from pathlib import Path

import trilby
from trilby.court.check import judge
from trilby.court.laws import LAWS
from trilby.court.mutants import MUTANTS
from trilby.court.subject import Subject

HEAD = """# The mutants

Wrong running means, each with one fault. A law counts only once it has been seen to fail: these
are what it fails on. **X** is the first law that breaks, which names the fault; x is a law that
breaks in consequence. `python -m tests.court.table` writes this page, and a test compares it.

"""


def confusion() -> dict[str, list[str]]:
    """Name of a mutant -> the laws that it breaks, in their order."""
    found = {}
    for name, (_, mutant) in MUTANTS.items():
        subject = Subject(name, mutant, trilby.mean.loop, trilby.mean.draw)
        found[name] = [law for law in LAWS if not judge(subject, law)]
    return found


def markdown(found: dict[str, list[str]]) -> str:
    """The page."""
    lines = [f"| mutant | fault | {' | '.join(LAWS)} |", "|---|---|" + ":-:|" * len(LAWS)]
    for name, broken in found.items():
        fault = " ".join((MUTANTS[name][1].__doc__ or "").split())
        marks = ["**X**" if [law] == broken[:1] else "x" if law in broken else "" for law in LAWS]
        lines.append(f"| {name} | {fault} | {' | '.join(marks)} |")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "docs" / "mutants.md"
    page.write_text(markdown(confusion()), encoding="utf-8")
