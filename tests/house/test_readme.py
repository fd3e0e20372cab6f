"""The README tells the truth: its table, its length, its Python, its picture, its links."""

import re
from pathlib import Path

from trilby import FORMS, MIXERS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table() -> list[str]:
    """The table of mixers and forms, written from the cards."""
    rows = [["mixer", *FORMS], ["---"] * (1 + len(FORMS))]
    rows += [[m.name, *("yes" if f in m.forms else "-" for f in FORMS)] for m in MIXERS.values()]
    return ["|" + "|".join(r) + "|" if r[0] == "---" else f"| {' | '.join(r)} |" for r in rows]


def test_the_table_is_that_of_the_cards():
    assert "\n".join(table()) in README


def test_it_fits_in_one_sitting():
    assert len(README.splitlines()) < 150


def test_its_python_runs():
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    names: dict[str, object] = {}
    for code in blocks:  # each one goes on with the names of those before it
        exec(code, names)
    assert len(blocks) == 3
    assert bool(names["verdict"])
    assert not names["report"]
    assert names["report"].first()[0].law == "causal"


def test_its_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_it_begins_with_pip():
    [first, *_] = re.findall(r"```\w*\n(.*?)\n", README, re.S)
    assert first == "pip install trilby"


def test_its_picture_is_what_show_draws():
    from trilby import mean
    from trilby.shown.lines import plain
    from trilby.shown.triangle import draw

    drawn = draw(mean.weights(*mean.draw(B=1, T=5)).wei[0].tolist())
    assert "\n".join(map(plain, drawn)) in README


def test_it_counts_the_mutants_and_the_laws():
    from trilby.verify.laws import LAWS
    from trilby.verify.mutants import MUTANTS, SHARDED

    assert f"[{len(MUTANTS) + len(SHARDED)} mutants]" in README
    assert len(LAWS.keys() - {"padding"}) == 9  # a mixer takes no masks
    assert "nine laws" in README
