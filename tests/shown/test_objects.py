"""Every public object is shown as its sentence or table, in a terminal and in a notebook."""

import pickle
import re
from html.parser import HTMLParser

import pytest
import torch

import trilby
from trilby.audit import Audit
from trilby.bench.clock import Timings
from trilby.bench.results import COPY, CUMSUM, Results
from trilby.verify.reports.merging import merged

X = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
VOID = {"br", "hr", "img"}
SAFE = {"div", "p", "span", "table", "tr", "td", "th", "pre", "details", "summary"}


def ahead(x):
    return torch.cat([x[:, 1:], x[:, -1:]], 1)


ahead.__name__ = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Reads a page, and complains of tags that a notebook drops or that do not close."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.said = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in SAFE, tag
        assert {name for name, _ in attrs} <= {"style"}
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said += data


def report() -> trilby.Report:
    return trilby.check(ahead, X, laws=["causal", "repeats"], effort="quick")


def results() -> Results:
    seconds = {name: [1e-3, 2e-3, 1.5e-3] for name in ("fused", COPY, CUMSUM)}
    machine = {"cpu": "a cpu", "threads": 1, "versions": {"torch": "2"}}
    wrong = trilby.Verdict("mean.fused", "causal", "broken", "leak", sentence="leak  <b>")
    return Results(
        "mean", [1, 2, 3], "float32", False, Timings(seconds), {"fused": [wrong]}, {}, machine
    )


def audit() -> Audit:
    verdict = {"law": "causal", "outcome": "broken", "limit": "", "sentence": "leak  <b>"}
    row = {"kind": "demo", "status": "judged", "reason": "", "facts": {}, "verdicts": [verdict]}
    return Audit({"adapter": "demo", "version": "1"}, [row])


OBJECTS = {
    "report": report,
    "verdict": lambda: report().first()[0],
    "same": lambda: trilby.same(torch.sin, torch.cos, X),
    "mixer": lambda: trilby.decay,
    "contract": lambda: trilby.ema.contract,
    "weights": lambda: trilby.mean.weights(X[:, :5]),
    "shades": lambda: trilby.decay.weights(*trilby.decay.draw(B=1, T=16)),
    "large": lambda: trilby.decay.weights(*trilby.decay.draw(B=1, T=300)),
    "results": results,
    "audit": audit,
}


@pytest.mark.parametrize("name", OBJECTS)
def test_it_is_a_sentence_or_a_table(name):
    thing = OBJECTS[name]()
    assert 10 < len(repr(thing)) < 1000
    assert "tensor(" not in repr(thing)
    page = thing._repr_html_()
    assert len(page) < 60_000
    assert len(Page(page).said) > 10


@pytest.mark.parametrize("name", ["report", "verdict", "results", "audit"])
def test_a_fault_has_a_glyph_and_a_word_beside_its_hue(name):
    page = OBJECTS[name]()._repr_html_()
    assert "✗ " in page
    hued = re.findall(
        r'<(?:td|span) style="[^"]*background-color: rgba\(([^)]*)\)[^>]*>([^<]*)', page
    )
    assert hued
    assert all(text[:2] in ("✓ ", "✗ ") for _, text in hued)


def test_the_explanation_comes_first():
    assert repr(report()).startswith("causal: leak  <img")
    assert repr(report()).endswith("1 of 2 hold")
    assert "reads x[0, 1]" in repr(report().first()[0])
    assert repr(trilby.same(torch.sin, torch.cos, X)).startswith("different functions: they differ")


def test_pytest_cuts_nothing_out_of_a_verdict():
    """It cuts the middle out of a `repr` of more than 240 characters."""
    verdict = trilby.Verdict("mean", "causal", "broken", sentence="leak " * 100)
    assert 200 < len(repr(verdict)) <= 240
    assert repr(verdict).startswith("mean causal: leak")


def test_equality_and_pickle_are_those_of_the_fields():
    one = report()
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert repr(again) == repr(one)
    wei, carried = trilby.mean.weights(X)
    assert isinstance(pickle.loads(pickle.dumps(trilby.Weights(wei, carried))), trilby.Weights)


def test_equal_triangles_are_drawn_once_and_a_leak_is_said():
    shown = repr(trilby.mean.weights(X[:, :3]))
    assert "all 2 are equal" in shown
    assert shown.count("1.000") == 1
    leaky = trilby.Weights(torch.ones(1, 3, 3), torch.zeros(1, 3, 1))
    assert "3 weights read the future, which is a leak" in repr(leaky)
    assert "! 1.000" in leaky._repr_html_()
    assert "without values" in repr(trilby.Weights(leaky.wei.to("meta"), leaky.carried))


def test_limits_that_differ_by_a_number_are_one_line():
    said = [f"T {t}: IndexError: {t} positions, at most 64" for t in (65, 66, 130, 300, 600)]
    [line] = merged(said)
    assert line == "T 65/66/130/.../600: IndexError: 65/66/130/.../600 positions, at most 64"
    assert merged(["T 1: a", "B 1: a", "T 2: b"]) == ["T 1: a", "B 1: a", "T 2: b"]
