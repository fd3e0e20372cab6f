"""Every position is looked at up to T=66: a leak of one position at the border of any group."""

import pytest
import torch
from tests.verify.ways import Passes
from torch import nn

import trilby
from trilby.verify.laws.causal import causal
from trilby.verify.sizes import LOOKED_AT, Setting, smaller
from trilby.verify.subjects.prepare import prepared


def copied_on(dy, places):
    """Each gradient of these places is given to the next position too."""
    dx = dy.clone()
    dx[:, [p + 1 for p in places]] += dy[:, places]
    return dx


class Border(nn.Module):
    """The last position of each group reads the first of the next; `how` hides it."""

    def __init__(self, group, how=""):
        super().__init__()
        self.group, self.how, self.out = group, how, nn.Linear(2, 2)

    def forward(self, x):
        places = list(range(self.group - 1, x.shape[1] - 1, self.group))
        if self.how == "backward":
            return Passes.apply(self.out(x), lambda dy: copied_on(dy, places))
        y = self.out(x).clone()
        ahead = x[:, [p + 1 for p in places]]
        y[:, places] = y[:, places] + (ahead.detach() if self.how == "value" else ahead)
        return y


KINDS = {"": "leak", "value": "leak without gradient", "backward": "leak in the gradient"}


def at_66(module, B=2):
    """What the law finds at T=66 in the batch of the example, and in no smaller size."""
    user = prepared(module, torch.randn(B, 16, 2))
    setting = Setting(LOOKED_AT, B)
    return next((f for f in causal(user.at(setting), setting) if f.broken), None)


@pytest.mark.parametrize("group", range(2, 41))
def test_one_position_at_a_border_is_found_whatever_the_size_of_a_group(group):
    found = at_66(Border(group, [*KINDS][group % 3]))
    assert found is not None
    assert found.kind == KINDS[[*KINDS][group % 3]]
    position = found.witness.position
    assert position % group == group - 1
    assert found.witness.reads == (position + 1, position + 2)


@pytest.mark.parametrize("how", KINDS)
def test_so_it_is_in_a_module_that_takes_one_batch_size_only(how):
    class Two(Border):
        def forward(self, x):
            assert len(x) == 2
            return super().forward(x)

    assert at_66(Two(29, how)).kind == KINDS[how]


def test_rows_that_read_each_other_are_no_leak():
    """Of position t, one row reads position t of the others: that is for another law."""
    found = at_66(lambda x: x.cumsum(1) + x.sum(0))
    assert found is None


def test_the_smallest_case_and_the_triangle_are_around_the_leak():
    report = trilby.check(Border(40), torch.randn(2, 16, 2), laws=["causal"], effort="quick")
    [verdict] = report.first()
    assert "y[0, 39] reads x[0, 40]" in verdict.sentence
    assert "T=41" in verdict.sentence
    rows = [line for line in verdict.detail.splitlines() if line.strip()[:2].isdigit()]
    assert [row.split()[0] for row in rows] == [str(t) for t in range(33, 41)]
    assert "!" in rows[39 - 33]
    assert 41 in [s.T for s in smaller(Setting(66), 41)]


class Distant(nn.Module):
    """The output at 20 reads the input at 100, beyond every position that is cut by itself."""

    def __init__(self, detached):
        super().__init__()
        self.detached = detached

    def forward(self, x):
        y = 1 * x
        if x.shape[1] > 100:
            ahead = x[:, 100:101].detach() if self.detached else x[:, 100:101]
            y = torch.cat([y[:, :20], y[:, 20:21] + 0.01 * ahead, y[:, 21:]], 1)
        return y


@pytest.mark.parametrize(("detached", "kind"), [(False, "leak"), (True, "leak without gradient")])
def test_the_gradient_is_that_of_the_output_that_changes(detached, kind):
    report = trilby.check(Distant(detached), torch.randn(1, 130, 1), laws=["causal"])
    (verdict,) = report.verdicts
    assert verdict.kind == kind
    assert verdict.witness.position == 20
