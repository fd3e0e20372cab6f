"""A straight-through gradient is meant; any other gradient of a value in steps is wrong."""

import pytest
import torch
from tests.verify.ways import Passes
from torch import nn

import trilby
from trilby.verify.laws.slopes import DISCRETE
from trilby.verify.laws.straight import STRAIGHT


def eighths(x):
    return (8 * x).round() / 8


def by_largest(x):
    scale = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
    return (x * scale).round().clamp(-128, 127) / scale


class Given(torch.autograd.Function):
    """A value, and a gradient of one's own to x."""

    @staticmethod
    def forward(ctx, x, value, back):
        ctx.back, ctx.x = back, x
        return value(x)

    @staticmethod
    def backward(ctx, dy):
        return ctx.back(dy, ctx.x), None, None


def outside(x, value):
    with torch.no_grad():
        q = value(x)
    return x + q - x.detach()


def hard_softmax(x):
    soft = x.softmax(-1)
    hard = torch.zeros_like(x).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard - soft.detach() + soft


def nearest(x):
    codes = torch.linspace(-2, 2, 9, dtype=x.dtype)[:, None].expand(9, 4)
    found = codes[torch.cdist(x.detach(), codes[None]).argmin(-1)]
    return x + (found - x).detach()


def inside(dy, x):
    return dy * (x.abs() <= 1)


MEANT = {
    "detached": lambda x: x + (eighths(x) - x).detach(),
    "by the largest": lambda x: x + (by_largest(x) - x).detach(),
    "without gradients": lambda x: outside(x, eighths),
    "both detached": lambda x: eighths(x).detach() + x - x.detach(),
    "a function": lambda x: Given.apply(x, eighths, lambda dy, _x: dy),
    "a sign": lambda x: x + (x.sign() - x).detach(),
    "a sign, clipped": lambda x: Given.apply(x, torch.sign, inside),
    "a hard softmax": hard_softmax,
    "the nearest code": nearest,
}
WRONG = {
    "reversed": lambda x: x.detach() + eighths(x) - x,
    "twice": lambda x: Given.apply(x, eighths, lambda dy, _x: 2 * dy),
    "another position": lambda x: Given.apply(x, eighths, lambda dy, _x: dy.flip(-1)),
    "beside it": lambda x: Passes.apply(x + (eighths(x) - x).detach(), lambda dy: 2 * dy),
    "smooth": lambda x: x + (x.tanh() - x).detach(),
    "detached after it": lambda x: detached_after(x + (eighths(x) - x).detach()),
}


def detached_after(x):
    """A normaliser that is detached on purpose or not: rounding before it is no excuse."""
    return x / (x @ torch.ones(4, 1, dtype=x.dtype)).square().add(1).detach()


class Net(nn.Module):
    """Rounding between two layers."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.way, self.first, self.last = way, nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.last(self.way(self.first(x)).sin())


def asked(way, T=16):
    x = torch.randn(2, T, 4, generator=torch.Generator().manual_seed(0))
    [verdict] = trilby.check(Net(way), x, laws=["differentiates"], effort="quick")
    return verdict


@pytest.mark.parametrize("name", MEANT)
def test_a_gradient_that_is_straight_through_is_a_note(name):
    verdict = asked(MEANT[name])
    assert verdict.ok, verdict.sentence
    assert STRAIGHT in verdict.notes


@pytest.mark.parametrize("name", WRONG)
def test_another_gradient_is_wrong(name):
    verdict = asked(WRONG[name])
    assert verdict.kind in ("gradient wrong", "gradient missing"), verdict.sentence


def test_of_a_comparison_another_shape_may_be_meant():
    spikes = lambda x: Given.apply(x, lambda x: (x > 0).to(x.dtype), lambda dy, x: dy / (1 + x * x))
    verdict = asked(spikes)
    assert verdict.ok, verdict.sentence
    assert DISCRETE in verdict.notes


def test_rounding_without_a_gradient_of_its_own_is_right():
    verdict = asked(eighths)
    assert verdict.ok
    assert verdict.notes == ()
