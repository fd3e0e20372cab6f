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


def judged(exhibit):
    return trilby.check(exhibit.make(), exhibit.example(), laws=LAWS, **exhibit.asked())


def applicable(exhibit):
    """The laws that can be run with the options of its label."""
    needs = dict(resumes="carry", padding="padding", documents="documents")
    return [law for law in LAWS if needs.get(law, "") in ("", *exhibit.how)]


@pytest.mark.parametrize("name", marked(WRONG))
def test_its_fault_is_named_first_and_nothing_else_but_its_consequences(name):
    exhibit = WRONG[name]
    first, *others = judged(exhibit).failed()
    assert (first.law, first.kind) == (exhibit.law, exhibit.kind), first.sentence
    assert {verdict.law for verdict in others} <= set(exhibit.then)


@pytest.mark.parametrize("name", marked(SOUND))
def test_a_correct_one_is_accepted(name):
    report = judged(SOUND[name])
    assert [verdict.sentence for verdict in report.failed()] == []
    ran = {verdict.law for verdict in report if verdict.outcome == "holds"}
    assert ran == set(applicable(SOUND[name])) - set(SOUND[name].how.get("waive", ()))


@pytest.mark.parametrize("name", GALLERY)
def test_it_can_be_asked(name):
    exhibit = GALLERY[name]
    one = exhibit.law if exhibit.law in ("repeats", "causal") else "repeats"
    report = trilby.check(
        exhibit.make(), exhibit.example(), laws=[one], effort="quick", **exhibit.asked()
    )
    [verdict] = report
    assert verdict.law == one
