"""Backward is judged wherever forward is: rows, pads, narrow dtypes, compiled; by either call."""

import pytest
import torch
from tests.verify.ways import Passes
from torch import nn
from torch.utils.checkpoint import checkpoint

import trilby
from trilby.verify.comparing.gradients import gradients_of


class Sum(nn.Module):
    """Sums over the past, with a padding mask; `fault` is in the backward pass alone."""

    def __init__(self, fault=""):
        super().__init__()
        torch.manual_seed(0)
        self.out, self.fault = nn.Linear(4, 4), fault

    def forward(self, x, mask=None):
        real = torch.ones(x.shape[:2]) if mask is None else mask
        real = real.to(x.dtype)[..., None]
        y = (x * real).cumsum(1)
        if self.fault == "rows":
            y = Passes.apply(y, lambda dy: dy + 0.1 * dy.flip(0))
        if self.fault == "pads":
            y = y + Passes.apply(x, lambda dy: dy.flip(0)) - x
            y = Passes.apply(x, lambda dy: dy.sum(1, keepdim=True).expand_as(dy)) - x.detach() + y
        if self.fault == "all pads":  # the average of nothing is NaN, and it is replaced
            y = y / real.cumsum(1)
            y = torch.where(y.isnan(), 0.0, y)
        if self.fault == "half":  # 300 squared is beyond float16
            y = Passes.apply(y, lambda dy: (dy * 300) * 300 / 90000)
        return self.out(y)


def x(T=16):
    return torch.randn(2, T, 4, generator=torch.Generator().manual_seed(0))


def asked(fault, law, **how):
    report = trilby.check(Sum(fault), x(), laws=[law], effort="quick", **how)
    return report.first()[0] if report.failed() else None


@pytest.mark.parametrize(
    ("fault", "law", "kind", "how"),
    [
        ("rows", "isolated", "neighbour in the gradient", {}),
        ("pads", "padding", "padding in the gradient", dict(padding="mask")),
        ("all pads", "padding", "not finite", dict(padding="mask")),
        ("half", "sound", "not finite", {}),
    ],
)
def test_a_fault_of_the_backward_pass_alone_is_found(fault, law, kind, how):
    assert asked("", law, **how) is None
    found = asked(fault, law, **how)
    assert found.kind == kind, found.sentence
    assert "gradient" in found.sentence


class Reentrant(nn.Module):
    """A checkpoint that refuses `.grad()`."""

    def __init__(self, wrong=False):
        super().__init__()
        self.first, self.wrong = nn.Linear(4, 4), wrong

    def part(self, x):
        y = self.first(x).tanh().cumsum(1)
        return Passes.apply(y, lambda dy: 2 * dy) if self.wrong else y

    def forward(self, x):
        return checkpoint(self.part, x, use_reentrant=True)


@pytest.mark.filterwarnings("ignore:None of the inputs:UserWarning")
def test_where_grad_is_refused_backward_is_used():
    module = Reentrant()
    module.first.weight.grad = torch.ones(4, 4)
    laws = ["causal", "isolated", "differentiates", "sound"]
    report = trilby.check(module, x(), laws=laws, effort="quick")
    assert report, str(report)
    assert torch.equal(module.first.weight.grad, torch.ones(4, 4))
    assert "no second gradient" in str(report)
    wrong = trilby.check(Reentrant(wrong=True), x(), laws=["differentiates"], effort="quick")
    assert wrong.first()[0].kind == "gradient wrong"


def test_gradients_are_put_back_where_backward_is_used():
    layer, given = nn.Linear(4, 4), x().requires_grad_()
    layer.weight.grad = torch.ones(4, 4)
    y = checkpoint(layer, given, use_reentrant=True).sum()
    for _ in range(2):
        [got] = gradients_of(y, [given], [*layer.parameters()])
        assert torch.allclose(got, layer.weight.sum(0).expand_as(got))
    assert torch.equal(layer.weight.grad, torch.ones(4, 4))
    assert layer.bias.grad is None
    assert given.grad is None


class Refuses(nn.Module):
    """Nobody gets a gradient of it, and it leaks or not."""

    def __init__(self, leaks):
        super().__init__()
        self.leaks = leaks

    def forward(self, x):
        def back(dy):
            raise NotImplementedError("there is no backward")

        return Passes.apply(x.cumsum(1) + self.leaks * x.flip(1), back)


@pytest.mark.parametrize("leaks", [0, 1])
def test_a_backward_that_is_refused_does_not_stop_judgement_by_value(leaks):
    report = trilby.check(Refuses(leaks), x(), laws=["causal", "isolated"], effort="quick")
    assert [v.kind for v in report.failed()] == ["leak"] * leaks
    assert "it raises: there is no backward" in str(report) or leaks


class Compiled(nn.Module):
    """Compiled, the gradient to a parameter is another one."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(9, 4), nn.Linear(4, 4)

    def forward(self, ids):
        weight = self.out.weight
        if torch.compiler.is_compiling():
            weight = 2 * weight - weight.detach()
        return nn.functional.linear(self.embed(ids).cumsum(1), weight)


def test_gradients_of_parameters_are_compared_where_it_is_compiled():
    ids = torch.randint(0, 9, (2, 16), generator=torch.Generator().manual_seed(0))
    [verdict] = trilby.check(Compiled(), ids, laws=["compiles"])
    assert verdict.kind == "compiled differs"
    assert verdict.place.startswith("gradient out.weight")
