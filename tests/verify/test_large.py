"""A model that is large: few copies at once, few sizes, and what is left out is said."""

from weakref import WeakSet

import pytest
import torch
from tests.verify.test_module import Block, empty, x

import trilby
from trilby.streaming import by_cache
from trilby.verify.copies import restore
from trilby.verify.laws import LAWS
from trilby.verify.subjects import user_module


class Counted(Block):
    """Knows how many of its kind have been called and are still there."""

    alive: WeakSet = WeakSet()
    most = 0

    def forward(self, *args, **kwargs):
        self.alive.add(self)
        type(self).most = max(self.most, len(self.alive))
        return super().forward(*args, **kwargs)


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch):
    monkeypatch.setattr(user_module, "LARGE", 0)
    monkeypatch.setattr(restore, "WATCHED", 0)
    Counted.alive.clear()
    Counted.most = 0


HOW = dict(padding="mask", documents="doc", carry=by_cache(start=empty))


def test_no_law_needs_more_than_three_copies_the_users_own_among_them():
    report = trilby.check(Counted(), x(), effort="quick", **HOW)
    assert report, str(report)
    assert 1 <= Counted.most <= 2  # the user's own is never called


def test_what_is_left_out_for_size_is_said():
    report = trilby.check(Block(), x(), effort="quick", **HOW)
    assert "limit  for its size, 0.000304 M parameters: training mode" in str(report)
    assert {s.dtype for many in report.tried.values() for s in many} == {
        torch.float32,
        torch.float64,
    }
    assert max(len(many) for many in report.tried.values()) <= 3


@pytest.mark.parametrize(
    ("bug", "law"), [("one ahead", "causal"), ("documents", "documents"), ("mask alone", "causal")]
)
def test_faults_are_found_all_the_same(bug, law):
    laws = [*LAWS][: [*LAWS].index(law) + 1]  # the first that breaks names the fault
    report = trilby.check(Block(bug), x(), laws=laws, effort="quick", **HOW)
    assert report.first()[0].law == law
