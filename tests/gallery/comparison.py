"""docs/comparison.md: other methods on the gallery.

`python -m tests.gallery.comparison` writes it. It needs `build/peers` on PYTHONPATH,
see requirements/peers.txt.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from tests.gallery.others import CONTENT, FOUND, NEAR, OURS, PACKAGES, PLAIN, verdict
from tests.gallery.turned import turned
from trilby.gallery import GALLERY, LAWS, SOUND, WRONG, Exhibit

PAGE = Path(__file__).parents[2] / "docs" / "comparison.md"
Way = Callable[[Exhibit], str]
Answers = Mapping[str, str]
Verdicts = Mapping[str, tuple[str, str]]  # exhibit -> first law broken, and what it is called

HEAD = """# Other methods on the same gallery

This page compares `trilby.check` with other methods of finding such faults, on the {wrong} faulty
modules of the [gallery](gallery.md) and on the {right} correct ones. Each method is used as its
users would use it: on one example, in float32 and in evaluation mode.

- **missed**: faulty modules that the method accepts or cannot be used on.
- **causal missed**: the same, among the {causal} modules whose first broken law is causality.
- **false alarms**: correct modules that the method rejects.

Any complaint counts as a find, whatever the method calls the fault. NaN poison complains about
most attention modules, so many of its finds are not the fault itself. The gallery was written
before any method was run on it, trilby's verifier included.

`python -m tests.gallery.comparison` writes this page (torch {torch}, {peers}). A test runs the
methods that take a few lines again and compares.

"""
MARKS = {FOUND: "x", CONTENT: "", "-": "-", NEAR: "~"}


def answers(way: Way) -> Answers:
    """What one method answers for every exhibit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: way(turned(exhibit)) for name, exhibit in GALLERY.items()}


def page(said: Mapping[str, Answers], ways: Mapping[str, Way], verdicts: Verdicts) -> str:
    """The page in Markdown."""
    causal = [name for name, exhibit in WRONG.items() if exhibit.law == "causal"]
    peers = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    text = HEAD.format(
        wrong=len(WRONG), right=len(SOUND), causal=len(causal), torch=torch.__version__, peers=peers
    )
    text += (
        "| method | what it does | missed | causal missed | false alarms |\n|---|---|---|---|---|\n"
    )
    for way, of in said.items():
        counts = (len(missed(of, WRONG)), len(missed(of, causal)), len(blamed(of)))
        totals = (len(WRONG), len(causal), len(SOUND))
        cells = [f"{n} of {total}" for n, total in zip(counts, totals, strict=True)]
        text += f"| {way} | {' '.join((inspect.getdoc(ways[way]) or '').split())} | "
        text += " | ".join(cells) + " |\n"
    text += "\n## By name\n\n"
    for way, of in said.items():
        text += (
            f"**{way}** misses, of the modules that are not causal: {_named(missed(of, causal))}.\n"
        )
        text += f"False alarms: {_named(blamed(of))}.\n"
        if near := [name for name in of if of[name] == NEAR]:
            text += "Rounding is near its limit, so the result depends on the processor: "
            text += f"{_named(near)}.\n"
        text += "\n"
    return text + confusion(verdicts) + "\n## All results\n\n" + table(said)


def confusion(verdicts: Verdicts) -> str:
    """A table: what the verifier reports first for each label, and how often the cause is right."""
    columns = [*LAWS, "none"]
    text = "## What the verifier reports first\n\nRows are the labels, columns the law that"
    text += " `trilby.check` reports"
    text += " first. **cause**: the verifier reports the cause that the label names.\n\n"
    text += f"| label | {' | '.join(columns)} | cause |\n|---|{':-:|' * (len(columns) + 1)}\n"
    for law in (*LAWS, ""):
        shown = [exhibit for exhibit in GALLERY.values() if exhibit.law == law]
        named = [verdicts[exhibit.name][0] or "none" for exhibit in shown]
        right = sum(verdicts[exhibit.name] == (exhibit.law, exhibit.kind) for exhibit in shown)
        cells = [str(named.count(column) or "") for column in columns]
        text += f"| {law or 'right'} | {' | '.join(cells)} | {right} of {len(shown)} |\n"
    return text


def table(said: Mapping[str, Answers]) -> str:
    """A row for each exhibit: x a complaint, - not applicable, ~ depends on the processor."""
    text = f"| exhibit | | {' | '.join(said)} |\n|---|---|{':-:|' * len(said)}\n"
    return text + "".join(row(name, said) for name in GALLERY)


def row(name: str, said: Mapping[str, Answers]) -> str:
    """`| norm_over_time | causal | x |  | ... |`."""
    label = GALLERY[name].law or "right"
    cells = [MARKS[of[name]] for of in said.values()]
    return f"| `{name}` | {label} | {' | '.join(cells)} |\n"


def missed(of: Answers, among: Mapping[str, Exhibit] | list[str]) -> list[str]:
    """Faulty exhibits that the method accepts."""
    return [name for name in among if of[name] != FOUND]


def blamed(of: Answers) -> list[str]:
    """Correct exhibits that the method rejects."""
    return [name for name in SOUND if of[name] == FOUND]


def _named(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


if __name__ == "__main__":
    torch.set_num_threads(1)
    every = PLAIN | PACKAGES | OURS
    said = {title: answers(way) for title, way in every.items()}
    PAGE.write_text(page(said, every, {name: verdict(name) for name in GALLERY}), "utf-8")
