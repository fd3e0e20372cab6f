"""Which sizes are tried does not depend on how busy the machine is, and what was cut is said."""

import time
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import trilby
from trilby import testing
from trilby.cli import main
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
    assert not report
    assert [v.law for v in report.unfinished()] == ["isolated"]
    assert report.failed() == []
    lines = str(report).splitlines()
    assert "1 of 1 hold, 1 of them not at all sizes" in lines[0]
    assert lines[2].split() == ["isolated", "part"]
    assert lines[-1].startswith("part  isolated: T 5 9 66 left out, one call at T=1 takes")
    assert lines[-1].endswith("; for ok give a quicker example, e.g. of fewer rows")
    assert lines[-1] in repr(report)
    assert "T 5 9 66 left out" in report._repr_html_()
    assert any("left out, one call at T=1 takes" in line for line in lines)
    known = report.as_dict()
    assert known["verdicts"][0]["cut"] == lines[-1].removeprefix("part  isolated: ")
    assert (known["ok"], known["verdicts"][0]["ok"]) == (False, False)
    assert known["verdicts"][0]["outcome"] == "holds"


def test_a_time_limit_marks_its_cell_too():
    module = Slow(0.005, every=True)
    report = trilby.check(module, x(), laws=["isolated"], effort="thorough", seconds=1.0)
    [verdict] = report
    assert not report
    assert verdict.cut.startswith("the time limit left")
    assert verdict.cut.endswith("for ok give a longer seconds=")
    assert str(report).splitlines()[2].split() == ["isolated", "part"]


def test_of_a_length_that_is_refused_the_longest_below_is_tried():
    user = prepared(Slow(0.0, most=40), x())
    tried = [s.T for s in module_sizes.at_lengths(user, (5, 9, 33, 66))]
    assert tried == [5, 9, 33]
    user = prepared(Slow(0.0, most=32), x())
    assert [s.T for s in module_sizes.at_lengths(user, (5, 9, 33, 66))] == [5, 9, 32]
    assert _cut("isolated", "default", user) == ""
    assert trilby.check(Slow(0.0, most=32), x(), laws=["isolated"], effort="quick").ok


def test_a_law_that_the_time_limit_left_out_is_not_ok_either():
    module = Slow(0.01, every=True)
    report = trilby.check(module, x(), laws=["repeats", "isolated"], effort="quick", seconds=1e-3)
    assert [v.outcome for v in report] == ["not run", "not run"]
    assert not report
    assert str(report).splitlines()[-1] == (
        "part  repeats isolated: not tried, the time limit of 0.001 s was reached; "
        "for ok give a longer seconds="
    )


def test_a_test_says_that_it_is_not_finished_and_not_that_the_law_is_broken():
    asked = dict(laws=["isolated"], effort="quick")
    with pytest.raises(AssertionError, match="part  isolated: T 5 9 66 left out"):
        testing.assert_lawful(Slow(0.03, every=True), x(), **asked)
    with pytest.raises(AssertionError, match="isolated holds where it was tried: T 5 9 66 left"):
        testing.assert_isolated(Slow(0.03, every=True), x(), effort="quick")
    made = testing.parametrize_with_laws(
        Slow(0.03, every=True), x(), fails={"isolated": "issue 12"}, **asked
    )
    [parameter] = made.args[1]
    with pytest.raises(pytest.fail.Exception, match="isolated holds where it was tried"):
        parameter.values[0]()


SLOW_FILE = """
import time
import torch
from trilby.verify.subjects import prepare

prepare.SLOW = 0.02

def slow(x):
    time.sleep(0.03)
    return x.cumsum(1)
"""


def test_the_command_line_says_so_in_every_format(tmp_path, capsys):
    (tmp_path / "slow.py").write_text(SLOW_FILE)
    call = ["check", f"{tmp_path / 'slow.py'}:slow", "--law", "isolated", "--effort", "quick"]
    junit = tmp_path / "junit.xml"
    assert main([*call, "--junit", str(junit)]) == 1
    assert "for ok give a quicker example" in " ".join(capsys.readouterr().out.split())
    [error] = ElementTree.parse(junit).iter("error")
    assert error.get("message").startswith("T 5 66 left out")
    assert not [*ElementTree.parse(junit).iter("failure")]
    assert main([*call, "--format", "github"]) == 1
    said = capsys.readouterr().out
    assert "::error title=isolated::not tried throughout, T 5 66 left out" in said
    assert "slow was not tested at all sizes" in said
