"""What is right is not blamed: kinks, frozen parts, copies that are none, noise, near the limit."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm, weight_norm

import trilby
from trilby.streaming import by_state
from trilby.verify.laws.slopes import jumps, kinked
from trilby.verify.subjects.prepare import prepared

NEAR = 2.0**-20  # nearer to zero than half a step of differences in float64


def x(T=16, C=4):
    return torch.randn(2, T, C, generator=torch.Generator().manual_seed(0))


def asked(module, *laws, effort="quick", **how):
    return trilby.check(module, x(), laws=laws, effort=effort, **how)


class Rectified(nn.Module):
    """Two layers with a ReLU between them, whose first is all zeros, or very small."""

    def __init__(self, size, act=torch.relu):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.act = nn.Linear(4, 8), nn.Linear(8, 4), act
        for p in self.first.parameters():
            p.data *= size

    def forward(self, x):
        return self.second(self.act(self.first(x)))


class Twice(torch.autograd.Function):
    """A ReLU whose gradient is twice what it should be."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, dy):
        return 2 * dy * (ctx.saved_tensors[0] > 0)


@pytest.mark.parametrize("size", [0.0, NEAR, 1.0])
@pytest.mark.parametrize("act", [torch.relu, torch.abs, nn.functional.leaky_relu])
def test_a_kink_at_the_point_or_within_a_step_is_no_fault(size, act):
    report = asked(Rectified(size, act), "differentiates")
    assert report, str(report)


@pytest.mark.parametrize("size", [0.0, NEAR, 1.0])
def test_a_wrong_gradient_is_found_beside_a_kink_too(size):
    [verdict] = asked(Rectified(size, Twice.apply), "differentiates")
    assert verdict.kind in ("gradient wrong", "second gradient"), verdict.sentence


@pytest.mark.parametrize(
    ("f", "kink"),
    [
        (abs, True),
        (lambda h: max(h, 0.0), True),
        (lambda h: max(h + 1e-6, 0.0) - 2 * max(h - 2e-6, 0.0), True),
        (lambda h: h * h + h, False),
        (lambda h: 3 * h + 1e3 * h * h + h**3, False),
        (lambda h: 7.0 + h, False),
    ],
)
def test_a_kink_is_told_from_curvature(f, kink):
    assert kinked(f, 2.0**-17, 2.0**-49) == kink
    assert jumps(lambda h: (f(h + 1e-9) - f(h - 1e-9)) / 2e-9, 2.0**-17, 2.0**-20) == kink


class Frozen(nn.Module):
    """Time enters with a frozen weight of zero on the future."""

    def __init__(self, all_of_it=False):
        super().__init__()
        self.future = nn.Parameter(torch.zeros(4), requires_grad=False)
        self.out = nn.Linear(4, 4).requires_grad_(not all_of_it)

    def forward(self, x):
        return self.out(x) + self.future * x.flip(1)


def test_frozen_parameters_are_redrawn_only_if_all_are_frozen():
    assert asked(Frozen(), "causal")
    assert asked(Frozen(all_of_it=True), "causal").first()[0].kind == "hidden leak"


class Shares(nn.Module):
    """A module whose copy is not its own: it shares a parameter, or calls the original."""

    def __init__(self, how):
        super().__init__()
        self.how, self.gate, self.out = how, nn.Parameter(torch.zeros(4)), nn.Linear(4, 4)
        self.way = lambda x: self.out(x) * 1.0

    def __deepcopy__(self, memo):
        if self.how == "calls":
            other = copy.copy(self)
            other._parameters = {"gate": copy.deepcopy(self.gate)}
            other._modules = {"out": copy.deepcopy(self.out)}
            return other
        return self

    def forward(self, x):
        return (self.way(x) if self.how == "calls" else self.out(x)) + self.gate


@pytest.mark.parametrize("how", ["calls", "is itself"])
def test_a_copy_that_uses_the_original_is_none(how):
    module = Shares(how)
    before = copy.copy(module.state_dict())
    user = prepared(module, x())
    assert "its copy still uses" in user.uncopied
    report = trilby.check(module, x(), laws=["repeats", "causal"], effort="quick")
    assert report, str(report)
    assert any("its copy still uses" in line for line in report.limits)
    assert all(v is module.state_dict()[k] or v.equal(before[k]) for k, v in before.items())
    assert module.out.weight.dtype == torch.float32


@pytest.mark.parametrize("norm", [weight_norm, spectral_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_that_a_hook_makes_anew_is_copied(norm):
    module = norm(nn.Linear(4, 4))
    module(x())
    user = prepared(module, x())
    assert user.uncopied == ""
    report = trilby.check(module, x(), laws=["causal", "sound", "isolated"], effort="quick")
    assert report, str(report)
    assert module.weight.grad_fn is not None or norm is spectral_norm


class Atomic(nn.Module):
    """Sums over channels to which each call adds another rounding error, as a GPU's atomics do."""

    calls = 0

    def __init__(self, share):
        super().__init__()
        self.share, self.out = share, nn.Linear(4, 4)

    def forward(self, x):
        Atomic.calls += 1
        y = self.out(x)
        grain = torch.finfo(y.dtype).eps * self.share
        coins = torch.Generator().manual_seed(Atomic.calls)
        return y + grain * y.abs().max() * torch.randn(y.shape, generator=coins).to(y.dtype)


def test_noise_of_rounding_is_a_note_with_its_size_and_more_is_random():
    report = asked(Atomic(0.5), "repeats", "causal", "isolated")
    assert report, str(report)
    [note] = [n for n in report.verdicts[0].notes if "equal calls differ" in n]
    assert note.endswith("units")
    assert asked(Atomic(2000), "repeats").first()[0].kind == "random"


class Kept(nn.Module):
    """It keeps a little of what it saw: no noise, the next call is changed in the same way."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x):
        y = x.cumsum(1) + self.seen
        self.seen = self.seen + 2e-6 * x.mean((0, 1)).abs() + 2e-6
        return y


def test_a_little_that_is_left_behind_is_no_noise():
    assert asked(Kept(), "repeats").first()[0].kind == "remembers"


class Coarse(nn.Module):
    """In float32 and below its error is a number of units of the largest at a position."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def forward(self, x):
        if x.dtype == torch.float64:
            return x.cumsum(1)
        y = x.double().cumsum(1)
        grain = torch.finfo(x.dtype).eps
        top = y.abs().amax(2, keepdim=True)
        return (y + self.units * grain * top).to(x.dtype)


def test_an_error_near_the_limit_is_a_note_with_its_growth():
    [verdict] = asked(Coarse(10), "sound")
    assert verdict.ok, verdict.sentence
    notes = [n for n in verdict.notes if "the error over what is allowed is" in n]
    longest = [note for note in notes if note.endswith("at T=66")]
    assert longest
    assert all("at T=9, " in note for note in longest)
    assert not asked(Coarse(40), "sound")


class Forgets(nn.Module):
    """A running sum whose stream loses a tenth of its state, in every dtype."""

    def forward(self, x, state: Tensor | None = None):
        h = x.cumsum(1)
        h = h if state is None else h + 0.9 * state[:, None]
        return h, h[:, -1]


def test_what_a_stream_gets_wrong_in_float64_is_one_fault():
    report = asked(Forgets(), "resumes", "sound", carry=by_state())
    assert [v.law for v in report.failed()] == ["resumes"]
    assert any("a stream differs from one call in float64" in n for n in report.verdicts[1].notes)
