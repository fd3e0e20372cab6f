"""Beside the smallest case a verdict has the largest breach, and how it grows with T."""

import json

import pytest
import torch

import trilby
from trilby.verify import judge
from trilby.verify.comparing.finding import Finding
from trilby.verify.comparing.growth import growth
from trilby.verify.judge import Clock
from trilby.verify.laws.law import Law
from trilby.verify.reports.verdict import Verdict
from trilby.verify.sizes import Setting


def x():
    return torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(0))


def by_length(x):
    """A fault that grows with the length: each position is moved by T."""
    return x + x.shape[1]


def broken(size, kind="leak"):
    return Finding(kind, True, size, 0.0, "y[0, 0]", "reads x[0, 1]")


def law_of(size, lengths=(3, 5, 9, 33, 66)):
    """A law that is broken by `size(T)`, from T = 5 on."""

    def probe(_subject, setting):
        yield broken(size(setting.T)) if setting.T > 4 else Finding("leak")

    return Law("causal", probe, lambda _e, _s: [], lambda _e, _u: [Setting(T) for T in lengths])


def judged(law, clock=None):
    from trilby.verify.subjects.prepare import prepared

    user = prepared(by_length, x())
    return judge.judge(user.subject(), law, law.module_settings("default", user), clock)


def test_the_largest_breach_is_beside_the_smallest_case():
    report = trilby.check(by_length, x(), laws=["causal"], effort="quick")
    [verdict] = report
    assert verdict.growth[0][0] < 5
    assert verdict.growth[-1][0] == 66
    sizes = [size for _, size in verdict.growth]
    assert sizes == sorted(sizes)
    assert sizes[-1] == pytest.approx(65.0)
    line = f"    {verdict.grown}"
    assert line in str(report).splitlines()
    assert verdict.grown.startswith("largest 65 at T=66; ")
    for page in (report._repr_html_(), verdict._repr_html_()):
        assert verdict.grown in page
    known = json.loads(json.dumps(report.as_dict()))
    assert known["verdicts"][0]["growth"] == [list(pair) for pair in verdict.growth]


def test_only_lengths_that_were_to_be_tried_are_tried():
    seen = []

    def size(T):
        seen.append(T)
        return float(T)

    verdict = judged(law_of(size))
    assert verdict.growth == ((5, 5.0), (9, 9.0), (33, 33.0), (66, 66.0))
    assert {*seen} == {5, 9, 33, 66}
    assert len(seen) < 12


def test_where_it_does_not_grow_the_largest_is_still_named():
    verdict = judged(law_of(lambda T: 1.0 if T == 9 else 0.5))
    assert verdict.grown == "largest 1 at T=9; 0.5, 1, 0.5, 0.5 at T=5, 9, 33, 66"


def test_the_time_limit_is_respected():
    class Once(Clock):
        """Over as soon as the fault is known."""

        asked = 0

        def over(self):
            self.asked += 1
            return self.asked > 3

    assert judged(law_of(float), Once()).growth == ((5, 5.0),)
    assert judged(law_of(float), Once()).grown == ""


def test_what_raises_while_it_is_measured_is_dropped_with_a_note(monkeypatch):
    def raises(*_given):
        raise ZeroDivisionError("no size")

    monkeypatch.setattr(judge, "growth", raises)
    verdict = judged(law_of(float))
    assert (verdict.outcome, verdict.growth) == ("broken", ())
    [note] = verdict.notes
    assert note.endswith("measuring it raises ZeroDivisionError: no size")


def test_a_length_that_raises_is_left_out():
    def size(T):
        if T == 33:
            raise RuntimeError("no")
        return float(T)

    assert judged(law_of(size)).growth == ((5, 5.0), (9, 9.0), (66, 66.0))


@pytest.mark.parametrize("found", [broken(float("inf")), broken(1.0, "raises"), broken(0.0)])
def test_what_has_no_size_has_no_growth(found):
    case = Setting(5), found
    assert growth(lambda _s: iter([broken(1.0)]), [Setting(9)], case, case, lambda: False) == ()


def test_one_length_says_nothing_more():
    assert Verdict("f", "causal", "broken", growth=((5, 1.0),)).grown == ""
    report = trilby.check(lambda x: x.cumsum(1), x(), laws=["causal"], effort="quick")
    assert [v.growth for v in report] == [()]
