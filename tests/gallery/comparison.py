"""docs/comparison.md: other ways on the gallery. `python -m tests.gallery.comparison` writes it.

It wants `build/peers` on PYTHONPATH, see requirements/peers.txt.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from tests.gallery.others import CONTENT, FOUND, NEAR, OURS, PACKAGES, PLAIN, verdict
from trilby.gallery import GALLERY, LAWS, SOUND, WRONG, Exhibit

PAGE = Path(__file__).parents[2] / "docs" / "comparison.md"
Way = Callable[[Exhibit], str]
Answers = Mapping[str, str]
Verdicts = Mapping[str, tuple[str, str]]  # exhibit -> first law broken, and what it is called

HEAD = """# Other ways, on the same gallery

What other ways to look for such faults, and `trilby.check`, say of the {wrong} wrong modules of the
[gallery](gallery.md), and of the {right} right ones. Each is used as its users would, on one
example in float32 and in evaluation mode. **missed**: it is content with a wrong module, or has no
place for it. **causal missed**: of the {causal} whose first broken law is causality. **blamed**: it
complains of a right one. A complaint counts whatever it calls the fault; NaN poison complains of
most attention, so it finds much that it does not see. The gallery was written before any of them
was run on it, the court included.

`python -m tests.gallery.comparison` writes this page (torch {torch}, {peers});
a test runs the ways of a few lines again and compares.

"""
MARKS = {FOUND: "x", CONTENT: "", "-": "-", NEAR: "~"}


def answers(way: Way) -> Answers:
    """What one way says of every exhibit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: way(exhibit) for name, exhibit in GALLERY.items()}


def page(said: Mapping[str, Answers], ways: Mapping[str, Way], verdicts: Verdicts) -> str:
    """The page in Markdown."""
    causal = [name for name, exhibit in WRONG.items() if exhibit.law == "causal"]
    peers = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    text = HEAD.format(
        wrong=len(WRONG), right=len(SOUND), causal=len(causal), torch=torch.__version__, peers=peers
    )
    text += "| way | what it does | missed | causal missed | blamed |\n|---|---|---|---|---|\n"
    for way, of in said.items():
        counts = (len(missed(of, WRONG)), len(missed(of, causal)), len(blamed(of)))
        totals = (len(WRONG), len(causal), len(SOUND))
        cells = [f"{n} of {total}" for n, total in zip(counts, totals, strict=True)]
        text += f"| {way} | {' '.join((inspect.getdoc(ways[way]) or '').split())} | "
        text += " | ".join(cells) + " |\n"
    text += "\n## By name\n\n"
    for way, of in said.items():
        text += f"**{way}** misses of the causal ones: {_named(missed(of, causal))}.\n"
        text += f"It blames: {_named(blamed(of))}.\n"
        if near := [name for name in of if of[name] == NEAR]:
            text += f"Rounding is near its limit, so the processor decides: {_named(near)}.\n"
        text += "\n"
    return text + confusion(verdicts) + "\n## All of it\n\n" + table(said)


def confusion(verdicts: Verdicts) -> str:
    """What the court names first, by what the label says: law by law, and how often the cause."""
    columns = [*LAWS, "none"]
    text = "## What the court names first\n\nRows are the labels, columns what `trilby.check` names"
    text += " first; **cause**: it calls the fault what the label calls it.\n\n"
    text += f"| label | {' | '.join(columns)} | cause |\n|---|{':-:|' * (len(columns) + 1)}\n"
    for law in (*LAWS, ""):
        shown = [exhibit for exhibit in GALLERY.values() if exhibit.law == law]
        named = [verdicts[exhibit.name][0] or "none" for exhibit in shown]
        right = sum(verdicts[exhibit.name] == (exhibit.law, exhibit.kind) for exhibit in shown)
        cells = [str(named.count(column) or "") for column in columns]
        text += f"| {law or 'right'} | {' | '.join(cells)} | {right} of {len(shown)} |\n"
    return text


def table(said: Mapping[str, Answers]) -> str:
    """One row for each exhibit: x for a complaint, - not applicable, ~ the processor decides."""
    text = f"| exhibit | | {' | '.join(said)} |\n|---|---|{':-:|' * len(said)}\n"
    return text + "".join(row(name, said) for name in GALLERY)


def row(name: str, said: Mapping[str, Answers]) -> str:
    """`| norm_over_time | causal | x |  | ... |`."""
    label = GALLERY[name].law or "right"
    cells = [MARKS[of[name]] for of in said.values()]
    return f"| `{name}` | {label} | {' | '.join(cells)} |\n"


def missed(of: Answers, among: Mapping[str, Exhibit] | list[str]) -> list[str]:
    """Wrong ones without a complaint."""
    return [name for name in among if of[name] != FOUND]


def blamed(of: Answers) -> list[str]:
    """Right ones with one."""
    return [name for name in SOUND if of[name] == FOUND]


def _named(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


if __name__ == "__main__":
    torch.set_num_threads(1)
    every = PLAIN | PACKAGES | OURS
    said = {title: answers(way) for title, way in every.items()}
    PAGE.write_text(page(said, every, {name: verdict(name) for name in GALLERY}), "utf-8")
