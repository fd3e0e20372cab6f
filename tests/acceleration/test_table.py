"""The page `docs/hybrids.md` says what `tests.acceleration.table` finds."""

import re

import pytest
import torch
import transformers

from tests.acceleration.models import FEW, MORE
from tests.acceleration.table import CHECKS, PAGE, cell, row

pytestmark = pytest.mark.filterwarnings("ignore")
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = {cells[0]: cells[1:] for line in TEXT.splitlines()
        if len(cells := line.strip("| ").split(" | ")) == len(CHECKS) + 3}  # fmt: skip


def test_every_type_has_a_row_and_accelerated_ones_are_right():
    assert {*ROWS} - {"type"} == {*FEW, *MORE}
    wrong = {(kind, check) for kind, cells in ROWS.items() if kind != "type"
             for check, found in zip((*CHECKS, "repeats", "same"), cells, strict=True)
             if not found.endswith("holds")}  # fmt: skip
    assert wrong == set()


@pytest.mark.long
@pytest.mark.parametrize("kind", sorted({*FEW, *MORE}))
def test_the_page_has_what_is_found(kind):
    if f"transformers {transformers.__version__}:" not in re.sub(r"\s+", " ", TEXT):
        pytest.skip("the page is about another release of transformers")
    assert row(kind) == ROWS[kind]


def test_a_cell_says_what_a_check_finds():
    one = torch.ones(2)
    checks = (lambda _: (one, one), lambda _: (one, one + 1e-3), lambda _: 1 / 0)
    assert [cell(check, None) for check in checks] == ["holds", "DIFFERS", "raises"]
