"""Which sizes are tried does not depend on how busy the machine is, and what was cut is said."""

import time

import pytest
import torch
from torch import nn

import trilby
from trilby.verify.check import _cut
from trilby.verify.laws import module_sizes
from trilby.verify.subjects import prepare
from trilby.verify.subjects.prepare import prepared

MET: set[int] = set()  # lengths that were compiled, as by a compiler whose cache is the process's


class Slow(nn.Module):
    """A running sum that pauses: at the first call of each length, or at every call."""

    def __init__(self, seconds, every=False, most=1000):
        super().__init__()
        self.seconds, self.every, self.most = seconds, every, most

    def forward(self, x):
        if x.shape[1] > self.most:
            raise ValueError("too long")
        if self.every or x.shape[1] not in MET:
            time.sleep(self.seconds)
        MET.add(x.shape[1])
        return x.cumsum(1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    MET.clear()
    monkeypatch.setattr(prepare, "SLOW", 0.02)


def x():
    return torch.randn(2, 4, 3)


def test_a_slow_first_call_of_each_length_cuts_nothing():
    user = prepared(Slow(0.03), x())
    assert user.left_out == {}
    assert {66, 130, 300} <= {*user.lengths}
    MET.clear()
    report = trilby.check(Slow(0.03), x(), laws=["isolated"], effort="quick")
    assert [v.cut for v in report] == [""]
    assert str(report).splitlines()[2].split() == ["isolated", "ok"]


def test_what_is_slow_each_time_is_cut_and_marked_in_the_cell_of_its_law():
    report = trilby.check(Slow(0.03, every=True), x(), laws=["isolated"], effort="quick")
    assert report.ok
    lines = str(report).splitlines()
    assert "1 of 1 hold, 1 of them not at all sizes" in lines[0]
    assert lines[2].split() == ["isolated", "part"]
    assert "part  isolated: T 5 9 66 left out" in lines
    assert any("left out, one call at T=1 takes" in line for line in lines)
    assert report.as_dict()["verdicts"][0]["cut"] == "T 5 9 66 left out"


def test_a_time_limit_marks_its_cell_too():
    module = Slow(0.005, every=True)
    report = trilby.check(module, x(), laws=["isolated"], effort="thorough", seconds=1.0)
    [verdict] = report
    assert verdict.cut.startswith("the time limit left")
    assert str(report).splitlines()[2].split() == ["isolated", "part"]


def test_of_a_length_that_is_refused_the_longest_below_is_tried():
    user = prepared(Slow(0.0, most=40), x())
    tried = [s.T for s in module_sizes.at_lengths(user, (5, 9, 33, 66))]
    assert tried == [5, 9, 33]
    user = prepared(Slow(0.0, most=32), x())
    assert [s.T for s in module_sizes.at_lengths(user, (5, 9, 33, 66))] == [5, 9, 32]
    assert _cut("isolated", "default", user) == ""
