"""A model that may read k positions ahead: k ahead is no leak, k + 1 is one, by every way."""

import pytest
import torch
from tests.verify.ways import Passes
from torch import nn

import trilby
from trilby import testing
from trilby.cli import main
from trilby.errors import CallError
from trilby.streaming import by_state
from trilby.verify.laws.causal import causal
from trilby.verify.sizes import LOOKED_AT, Setting
from trilby.verify.subjects.prepare import prepared
from trilby.verify.subjects.reading import Asked

KINDS = {"": "leak", "value": "leak without gradient", "backward": "leak in the gradient"}


class Ahead(nn.Module):
    """Each output reads `reach` positions ahead, and at `at` one more; `how` hides that one."""

    def __init__(self, reach, at=None, how=""):
        super().__init__()
        torch.manual_seed(0)
        self.reach, self.at, self.how, self.out = reach, at, how, nn.Linear(2, 2)

    def forward(self, x):
        k, at = self.reach, self.at
        y = self.out(x) + nn.functional.pad(x, (0, 0, 0, k))[:, k:]
        if at is None or at + k + 1 >= x.shape[1]:
            return y
        if self.how == "backward":
            return y + Passes.apply(x, self.back) - x
        farther = x[:, at + k + 1]
        y[:, at] = y[:, at] + (farther.detach() if self.how == "value" else farther)
        return y

    def back(self, dy):
        dx = dy.clone()
        dx[:, self.at + self.reach + 1] += dy[:, self.at]
        return dx


def x():
    return torch.randn(2, 16, 2, generator=torch.Generator().manual_seed(0))


def at_66(module, lookahead):
    user = prepared(module, x(), Asked(lookahead=lookahead))
    setting = Setting(LOOKED_AT, 2)
    return next((f for f in causal(user.at(setting), setting) if f.broken), None)


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize(("k", "at"), [(1, 3), (2, 29), (16, 0), (5, 60)])
def test_one_position_farther_is_found_wherever_it_is(k, at, how):
    assert at_66(Ahead(k), k) is None
    found = at_66(Ahead(k, at, how), k)
    if at + k + 1 >= LOOKED_AT:
        assert found is None
        return
    assert found.kind == KINDS[how]
    assert (found.witness.position, found.witness.reads) == (at, (at + k + 1, at + k + 2))
    assert f", beyond its lookahead of {k}" in found.text


def test_the_length_of_the_input_must_not_matter_before_the_lookahead():
    by_length = lambda x: x + nn.functional.pad(x, (0, 0, 0, 2))[:, 2:] + x.shape[1]
    report = trilby.check(by_length, x(), laws=["causal"], effort="quick", lookahead=2)
    [verdict] = report.failed()
    assert verdict.kind == "length"
    said = {}
    lines = ["f = lambda x: x + x.shape[1]", *verdict.reproducer.splitlines()[2:-1]]
    exec("import torch\n" + "\n".join(lines), said)
    assert "a[:, :1] - b[:, :1]" in verdict.reproducer
    assert bool((said["a"][:, :1] != said["b"][:, :1]).all())


def test_the_sentence_the_triangle_and_the_lines_that_show_it():
    three = nn.Sequential(Ahead(1), Ahead(2))
    [verdict] = trilby.check(three, x(), laws=["causal"], effort="quick", lookahead=2)
    assert "y[0, 1] reads input[0, 4]  change" in verdict.sentence
    assert ", beyond its lookahead of 2" in verdict.sentence
    head, *rows = verdict.detail.splitlines()
    assert head.endswith("! is a leak, 2 ahead is allowed")
    cells = [row.split()[1:9] for row in rows[2:10]]
    marked = [[s for s, cell in enumerate(row) if cell == "!"] for row in cells]
    assert marked == [[t + 3] if t + 3 < 8 else [] for t in range(8)]
    assert "input[:, 4:] = torch.randn_like" in verdict.reproducer
    assert "(a - b)[:, :2]" in verdict.reproducer
    assert trilby.check(Ahead(3), x(), laws=["causal"], effort="quick", lookahead=3)


def test_the_submodule_that_reads_too_far_by_itself_is_named():
    several = nn.Sequential(Ahead(1), Ahead(3), Ahead(0))
    [verdict] = trilby.check(several, x(), laws=["causal"], effort="quick", lookahead=2)
    assert "it enters in 1 (Ahead)" in verdict.detail


def test_lengths_at_which_everything_may_be_read_show_nothing():
    whole = lambda x: x.mean(1, keepdim=True).expand_as(x)
    assert trilby.check(whole, x(), laws=["causal"], lookahead=16).first()
    [verdict] = trilby.check(whole, x(), laws=["causal"], lookahead=1000)
    assert verdict.sentence == "there was nothing to compare at T=66; give a longer example"


def test_a_stream_is_not_judged():
    def running(x, state=None):
        total = x.cumsum(1) + (0 if state is None else state[:, None])
        return total, total[:, -1]

    both = dict(effort="quick", carry=by_state("state"))
    assert trilby.check(running, x(), laws=["resumes"], **both)
    [verdict] = trilby.check(running, x(), laws=["resumes"], lookahead=1, **both)
    late = "with lookahead=1 a stream gives its outputs late, and how is not defined"
    assert verdict.sentence == late
    assert trilby.check(running, x(), laws=["sound", "causal", "repeats"], lookahead=1, **both)


@pytest.mark.parametrize("wrong", [-1, 1.0, True, "2"])
def test_what_is_no_lookahead_is_refused(wrong):
    with pytest.raises(CallError, match=r"check: lookahead is .*, expected how many later"):
        trilby.check(Ahead(1), x(), lookahead=wrong)


def test_assertions_and_the_command_line_take_it(tmp_path, capsys):
    testing.assert_causal(Ahead(1), x(), effort="quick", lookahead=1)
    asked = dict(laws=["causal"], effort="quick")
    testing.assert_lawful(Ahead(1), x(), lookahead=1, **asked)
    with pytest.raises(AssertionError, match="lookahead of 1"):
        testing.assert_lawful(Ahead(2), x(), lookahead=1, **asked)
    mark = testing.parametrize_with_laws(Ahead(1), x(), lookahead=1, **asked)
    mark.args[1][0].values[0]()
    (tmp_path / "two.py").write_text(
        "import torch\ntwo = lambda x: torch.nn.functional.pad(x, (0, 0, 0, 2))[:, 2:]\n"
    )
    call = ["check", f"{tmp_path / 'two.py'}:two", "--law", "causal", "--effort", "quick"]
    assert main([*call, "--lookahead", "2"]) == 0
    assert main([*call, "--lookahead", "1"]) == 1
    assert "beyond its lookahead of 1" in " ".join(capsys.readouterr().out.split())
    assert main(["check", "mean", "--lookahead", "1"]) == 2
    assert "--lookahead is for modules" in " ".join(capsys.readouterr().err.split())
