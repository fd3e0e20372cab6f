"""Every mutant is caught by the law that names its fault, and nothing else is blamed."""

import pytest
from tests.verify.page import JUDGED, PAGE, beside, judged, rows_across

import trilby
from trilby.verify.mutants import MUTANTS, SHARDED, Mutant
from trilby.verify.mutants.documents import apart
from trilby.verify.mutants.page import ACROSS, head, row
from trilby.verify.mutants.wrong import healthy


@pytest.mark.parametrize("name", MUTANTS)
def test_the_first_law_that_breaks_names_the_fault(name):
    mutant = MUTANTS[name]
    report = judged(mutant, JUDGED[: JUDGED.index(mutant.law) + 1])
    assert not report
    first = report.first()[0]
    assert (first.law, first.kind) == (mutant.law, mutant.kind), str(report)
    assert first.sentence.startswith(f"{mutant.kind}  mean.scan  ")


@pytest.mark.long
@pytest.mark.parametrize("name", MUTANTS)
def test_every_law_that_breaks_stands_on_the_page(name):
    report = judged(MUTANTS[name])
    assert row(MUTANTS[name], report, JUDGED) in PAGE.read_text(encoding="utf-8")


def test_the_page_is_these_mutants_and_no_others():
    page = PAGE.read_text(encoding="utf-8")
    assert page.startswith(head(JUDGED))
    page, head_across, sharded = page.partition(ACROSS)
    rows = page.removeprefix(head(JUDGED)).splitlines()
    assert [line.split("`")[1] for line in rows] == list(MUTANTS)
    said = {name: mutant.kind for name, mutant in SHARDED.items()}  # test_shards.py runs them
    assert head_across + sharded == rows_across(said)


@pytest.mark.parametrize("law", JUDGED)
def test_every_law_has_been_seen_to_fail_more_than_once(law):
    assert sum(mutant.law == law for mutant in MUTANTS.values()) >= 2


def test_every_mutant_says_what_is_wrong_with_it():
    assert all(mutant.fault.endswith(".") for mutant in MUTANTS.values())
    assert len(MUTANTS) == len({mutant.fault for mutant in MUTANTS.values()})


@pytest.mark.parametrize("name", ["writes_to_its_input", "reuses_one_buffer", "draws_noise"])
def test_healthy_forms_beside_a_mutant_are_not_blamed(name):
    report = trilby.check(beside(MUTANTS[name], "matrix", "fused"), laws=JUDGED[:4], effort="quick")
    assert {v.subject for v in report.failed()} == {"mean.scan"}
    assert {v.subject for v in report if v.ok} >= {"mean.loop", "mean.matrix", "mean.fused"}


@pytest.mark.parametrize("form", [healthy, apart])
def test_what_the_mutants_are_made_of_is_healthy(form):
    report = judged(Mutant(form, "", ""))
    assert report, str(report)
