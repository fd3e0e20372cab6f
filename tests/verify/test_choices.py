"""A choice that rounding may turn is made as the call made it; any other is not."""

import pytest
import torch
from torch import nn

import trilby
from trilby.verify.precision.choices import Choice, Choices, legal


class Router(nn.Module):
    """The expert with the larger score; scores are rounded to the dtype, as anywhere."""

    def __init__(self, wrong=False):
        super().__init__()
        torch.manual_seed(0)
        self.score, self.wrong = nn.Linear(8, 4, bias=False), wrong
        self.experts = nn.Parameter(torch.randn(4, 8))

    def forward(self, x):
        scores = self.score(x)
        if self.wrong and x.dtype != torch.float64:
            scores = scores.flip(-1)
        return x + self.experts[scores.softmax(-1).argmax(-1)]


class Places(nn.Module):
    """Even positions are kept; positions in the dtype of x are no even numbers beyond 256."""

    def forward(self, x):
        at = torch.arange(x.shape[1]).to(x.dtype)
        odd = (at / 2).floor() * 2 < at
        return torch.where(odd[:, None], x, -x)


def x(T=16):
    return torch.randn(2, T, 8, generator=torch.Generator().manual_seed(0))


def test_a_tie_that_falls_otherwise_in_half_precision_is_a_note():
    report = trilby.check(Router(), x(), laws=["sound"])
    assert report, str(report)
    assert "chooses otherwise than in float64 where two numbers nearly tie" in str(report)


@pytest.mark.parametrize(("module", "T"), [(Router(wrong=True), 16), (Places(), 320)])
def test_a_choice_that_no_rounding_turns_is_unsound(module, T):
    [verdict] = trilby.check(module, x(T), laws=["sound"])
    assert verdict.kind == "unsound", str(verdict)


def test_what_is_picked_is_legal_where_it_nearly_ties():
    numbers = torch.tensor([[1.0, 1.01, 3.0]]).double() / 7
    first, second, third = (torch.tensor([n]) for n in range(3))
    own = Choice(torch.ops.aten.argmax.default, [numbers], second, 1)
    assert legal(own, first, [], torch.bfloat16).item() == 0
    assert legal(own, first, [], torch.float32).item() == 1
    assert legal(own, third, [], torch.bfloat16).item() == 1


def test_whole_numbers_count_and_are_not_rounded():
    own = Choice(torch.ops.aten.lt.Tensor, [torch.tensor([256.0]).double(),
                 torch.tensor([257.0]).double()], torch.tensor([True]))  # fmt: skip
    theirs = torch.tensor([False])
    assert legal(own, theirs, [], torch.bfloat16).item() is True
    one = torch.ones(1).double()
    assert legal(own, theirs, [one, one], torch.bfloat16).item() is False


def test_values_follow_the_indices_that_are_held():
    scores = torch.tensor([[0.5, 0.25, 0.75]])
    with Choices() as seen:
        scores.topk(2)
    seen.made[0].chosen = torch.tensor([[0, 2]])
    with Choices(seen.made):
        values, indices = scores.topk(2)
    assert (values.tolist(), indices.tolist()) == ([[0.5, 0.75]], [[0, 2]])
