"""The page of the audit explains every broken cell of the table."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def rows(path):
    """The cells of every row of the tables in a page."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines
            if line.startswith("| ")]  # fmt: skip


def test_every_broken_cell_of_the_table_stands_on_the_page():
    head, *table = rows(DOCS / "audit" / "table.md")
    laws = head[2:]
    broken = {(row[0], law) for row in table for law, cell in zip(laws, row[2:], strict=True)
              if cell == "BROKEN"}  # fmt: skip
    told = set()
    for row in rows(DOCS / "audit.md"):
        kinds = [re.sub(r" with `.*`", "", kind) for kind in row[0].split(", ")]
        told |= {(kind, law) for kind in kinds for law in row[1].split(", ") if law in laws}
    assert len(broken) > 50
    assert broken == told


def test_every_script_is_named_and_every_named_script_is_there():
    text = (DOCS / "audit.md").read_text(encoding="utf-8")
    there = {path.stem for path in (DOCS / "audit" / "scripts").glob("*.py")} - {"small"}
    named = {row[6].strip("`") for row in rows(DOCS / "audit.md") if len(row) == 8} - {"script"}
    assert named <= there
    assert [name for name in there if f"`{name}`" not in text] == []


def test_the_counts_on_the_page_are_those_of_the_table():
    title = (DOCS / "audit" / "table.md").read_text(encoding="utf-8").splitlines()[0]
    types, judged, broken = re.search(r"(\d+) types, (\d+) judged, (\d+) broken", title).groups()
    text = " ".join((DOCS / "audit.md").read_text(encoding="utf-8").split())
    assert f"{types} types; {judged} were judged" in text
    assert f"{broken} have a law that is broken" in text
