"""The page of the audit explains every broken cell of the table."""

import json
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "audit"))
from recorded import audit, kept, read, written  # noqa: E402

from trilby.audit import Audit  # noqa: E402


def rows(path):
    """The cells of every row of the tables in a page, or of the audit that is kept under a name."""
    text = path.read_text(encoding="utf-8") if path.suffix else audit(path.name).markdown()
    lines = text.splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines
            if line.startswith("| ")]  # fmt: skip


def test_every_broken_cell_of_the_table_stands_on_the_page():
    head, *table = rows(DOCS / "audit" / "table")
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
    title = audit("table").title()
    types, judged, broken = re.search(r"(\d+) types, (\d+) judged, (\d+) broken", title).groups()
    text = " ".join((DOCS / "audit.md").read_text(encoding="utf-8").split())
    assert f"{types} types; {judged} were judged" in text
    assert f"{broken} have a law that is broken" in text


def cells(name):
    """type -> law -> cell, of a table."""
    head, *table = rows(DOCS / "audit" / name)
    return {row[0]: dict(zip(head[2:], row[2:], strict=True)) for row in table}


def test_accelerated_types_break_nothing_that_holds_as_they_are():
    plain, later, fast = cells("table"), cells("continued"), cells("accelerated")
    assert len(fast) > 20
    for kind, laws in fast.items():
        before = plain[kind] | later[kind]
        worse = {law for law, cell in laws.items() if cell == "BROKEN" and before[law] == "ok"}
        assert worse == set(), kind
        assert (laws["documents"], laws["pieces"]) == ("ok", "ok"), kind
    broken = {(kind, law) for kind, laws in fast.items() for law in laws
              if laws[law] == "BROKEN" and law != "pads"}  # fmt: skip
    assert broken == {("bamba", "resumes")}


def test_types_that_break_pieces_are_named():
    text = (DOCS / "audit.md").read_text(encoding="utf-8")
    told = text.partition("- **pieces**:")[2].partition("- **pads**")[0]
    broken = {kind for kind, laws in cells("continued").items() if laws["pieces"] == "BROKEN"}
    assert len(broken) > 5
    assert broken == {kind for kind in cells("continued") if re.search(rf"\b{kind}\b", told)}


def test_what_is_kept_of_results_shows_what_they_show():
    broken = {"law": "pads", "outcome": "broken", "limit": "", "sentence": "off | by 2"}
    limited = {"law": "causal", "outcome": "broken", "limit": "documented", "sentence": "x"}
    holds = {"law": "pads", "outcome": "holds", "limit": "", "sentence": "2e-15"}
    facts = {"facts": {"class": "A"}, "status": "judged", "reason": ""}
    missing = {"kind": "c", "facts": {}, "status": "not built", "reason": "no", "verdicts": []}
    rows = {
        "a": {"kind": "a", **facts, "verdicts": [limited, broken]},
        "b": {
            "kind": "b",
            **facts,
            "verdicts": [{**limited, "outcome": "not run", "limit": ""}, holds],
        },
        "c": missing,
    }
    header = {"adapter": "demo", "version": "1"}
    text = written(kept({**header, "rows": rows}))
    assert read(json.loads(text)).markdown() == Audit(header, [*rows.values()]).markdown()
