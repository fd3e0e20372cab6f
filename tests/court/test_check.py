"""`check`: the room holds, every mutant is caught by the law that names its fault."""

from pathlib import Path

import pytest
import torch
from tests.court.table import confusion

import trilby
from trilby.court.check import check, judge
from trilby.court.laws import LAWS
from trilby.court.mutants import MUTANTS, healthy
from trilby.court.report import Report
from trilby.court.subject import Subject
from trilby.court.verdict import Verdict
from trilby.errors import CallError, FormError

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def found():
    return confusion()


def test_the_mean_holds_every_law():
    report = check(trilby.mean)
    assert report, str(report)
    assert len(report) == len(trilby.mean.forms) * len(LAWS)


def test_a_healthy_mean_of_another_hand_holds_every_law():
    subject = Subject("healthy", healthy, trilby.mean.loop, trilby.mean.draw)
    assert [law for law in LAWS if not judge(subject, law)] == []


@pytest.mark.parametrize("name", MUTANTS)
def test_the_first_law_that_breaks_names_the_fault(found, name):
    law, _ = MUTANTS[name]
    assert found[name][0] == law, found[name]


@pytest.mark.parametrize("law", LAWS)
def test_every_law_has_been_seen_to_fail_twice(law):
    assert sum(named == law for named, _ in MUTANTS.values()) >= 2


def test_the_table_in_the_docs_is_this_one(found):
    from tests.court.table import markdown

    assert (DOCS / "mutants.md").read_text(encoding="utf-8") == markdown(found)


def test_a_mutant_spoils_no_healthy_form():
    from dataclasses import replace

    forms = {"loop": trilby.mean.loop, "scan": MUTANTS["one_late"][1]}
    report = check(replace(trilby.mean, forms=forms), laws=["causal", "agrees"])
    assert not report
    assert {v.subject for v in report.failed()} == {"mean.scan"}
    assert report.first()[0].law == "agrees"
    assert "different  mean.scan  different functions" in str(report)


def test_a_form_that_crashes_is_broken_and_check_goes_on():
    def crashes(x, state=None):
        raise RuntimeError("boom")

    subject = Subject("crash", crashes, trilby.mean.loop, trilby.mean.draw)
    for law in LAWS:
        verdict = judge(subject, law)
        assert verdict.outcome == "broken"
        assert "boom" in verdict.sentence


def test_an_empty_report_is_not_a_pass():
    assert not Report(())
    assert not Report((Verdict("x", "causal", "not run"),))
    assert Report((Verdict("x", "causal", "holds"), Verdict("x", "sound", "not run")))


def test_nothing_of_the_caller_is_changed():
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    threads, default = torch.get_num_threads(), torch.get_default_dtype()
    check(trilby.mean, forms=["scan"])
    assert torch.equal(torch.rand(3), want)
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, default)
    assert torch.is_grad_enabled()


def test_wrong_names_are_one_sentence():
    with pytest.raises(CallError, match=r"^check: there is no law 'casual'; did you mean 'causal'"):
        check(trilby.mean, laws=["casual"])
    with pytest.raises(FormError, match=r"mean: form is 'chunks', .* did you mean 'chunk'\?"):
        check(trilby.mean, forms=["chunks"])
    with pytest.raises(CallError, match=r"^check: mixer is function, expected a mixer"):
        check(trilby.mean.loop)
