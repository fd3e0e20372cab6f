"""What is wrong only at magnitudes that trained models reach is found."""

import pytest
import torch
from torch import nn

import trilby
from trilby.verify.laws import sound
from trilby.verify.subjects.prepare import prepared


class Capped(nn.Module):
    """A soft cap on what a layer gives: by exponentials, whose ratio is NaN at last, or by tanh."""

    def __init__(self, cap, by):
        super().__init__()
        torch.manual_seed(0)
        self.out, self.cap, self.by = nn.Linear(4, 4), cap, by

    def forward(self, x):
        s = self.out(x).square() / self.cap
        if self.by == "tanh":
            return self.cap * s.tanh()
        return self.cap * torch.expm1(2 * s) / (torch.exp(2 * s) + 1)


def x():
    return torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("effort", ["quick", "default"])
@pytest.mark.parametrize("cap", [5.0, 50.0, 500.0, 5000.0])
def test_a_cap_by_exponentials_is_found_wherever_it_overflows(cap, effort):
    """From 44 to 355 float64 stays finite: a window of a factor of 2.8 for what is squared."""
    [verdict] = trilby.check(Capped(cap, "exp"), x(), laws=["sound"], effort=effort)
    assert verdict.kind == "not finite", verdict.sentence
    assert "scale=" in verdict.sentence
    assert trilby.check(Capped(cap, "tanh"), x(), laws=["sound"], effort=effort)


def test_every_factor_of_two_is_tried_and_tokens_have_none():
    user = prepared(Capped(5.0, "tanh"), x())
    scales = {s.scale for s in sound.LAW.module_settings("default", user)}
    assert scales == {2.0**k for k in range(-6, 16)}
    user = prepared(nn.Embedding(9, 4), torch.randint(0, 9, (2, 9)))
    assert {s.scale for s in sound.LAW.module_settings("default", user)} == {1.0}
