"""The verifier names every fault of the gallery and no other, and accepts the correct exhibits."""

import pytest

import trilby
from trilby.gallery import GALLERY, LAWS, SOUND, WRONG

# Exhibits that the verifier judges against their label today, and why the label is right.
OTHERWISE: dict[str, str] = {}


def marked(names):
    return [pytest.param(name, marks=[pytest.mark.slow, *_late(name)]) for name in names]


def _late(name):
    known = name in OTHERWISE
    return [pytest.mark.xfail(reason=OTHERWISE[name], strict=True)] if known else []


def judged(exhibit, laws=LAWS):
    return trilby.check(exhibit.make(), exhibit.example(), laws=laws, **exhibit.asked())


def applicable(exhibit):
    """The laws that can be run with the options of its label."""
    needs = dict(resumes="carry", padding="padding", documents="documents")
    return [law for law in LAWS if needs.get(law, "") in ("", *exhibit.how)]


@pytest.mark.parametrize("name", marked(WRONG))
def test_its_fault_is_named_first(name):
    exhibit = WRONG[name]
    laws = applicable(exhibit)
    first = judged(exhibit, laws[: laws.index(exhibit.law) + 1]).failed()[0]
    assert (first.law, first.kind) == (exhibit.law, exhibit.kind), first.sentence


@pytest.mark.long
@pytest.mark.parametrize("name", marked(WRONG))
def test_its_fault_is_named_first_and_nothing_else_but_its_consequences(name):
    exhibit = WRONG[name]
    first, *others = judged(exhibit).failed()
    assert (first.law, first.kind) == (exhibit.law, exhibit.kind), first.sentence
    assert {verdict.law for verdict in others} <= set(exhibit.then)


@pytest.mark.parametrize("name", marked(SOUND))
def test_a_correct_one_is_accepted(name):
    laws = [law for law in LAWS if law != "compiles"]  # test_facts.py compiles it
    _accepted(SOUND[name], laws)


@pytest.mark.long
@pytest.mark.parametrize("name", marked(SOUND))
def test_a_correct_one_is_accepted_by_every_law(name):
    _accepted(SOUND[name], LAWS)


def _accepted(exhibit, laws):
    report = judged(exhibit, laws)
    assert [verdict.sentence for verdict in report.failed()] == []
    ran = {verdict.law for verdict in report if verdict.outcome == "holds"}
    assert ran == set(laws) & set(applicable(exhibit)) - set(exhibit.how.get("waive", ()))


@pytest.mark.parametrize("name", GALLERY)
def test_it_can_be_asked(name):
    exhibit = GALLERY[name]
    one = exhibit.law if exhibit.law in ("repeats", "causal") else "repeats"
    report = trilby.check(
        exhibit.make(), exhibit.example(), laws=[one], effort="quick", **exhibit.asked()
    )
    [verdict] = report
    assert verdict.law == one
