"""What `same` says of backward passes: of inputs, of parameters, and of ways that have none."""

import copy

import pytest
import torch
from tests.verify.ways import DTYPES, drawn
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import trilby
from trilby.mixers import decay, mean
from trilby.verify.same import same

x = drawn(1337)


class Twice(torch.autograd.Function):
    """2 x, with a backward pass that a test names."""

    @staticmethod
    def forward(ctx, x, back):
        ctx.back = back
        return 2 * x

    @staticmethod
    def backward(ctx, dy):
        return ctx.back(2 * dy), None


def twice(back):
    return lambda x: Twice.apply(x, back)


def first_row_only(dx):
    return torch.cat([dx[:1], 0 * dx[1:]])


def one_element(dx):
    dx = dx.clone()
    dx[0, 3, 1] *= 1.001
    return dx


@pytest.mark.parametrize(
    ("way", "place"),
    [
        (lambda x: x + x.detach(), "x["),
        (lambda x: 2 * x.detach(), "x["),
        (lambda x: 2 * x.data, "x["),
        (twice(first_row_only), "x["),
        (twice(one_element), "x[0, 3, 1]"),
        (twice(lambda dx: dx * torch.nan), "x[0, 0, 0]"),
        (twice(lambda dx: dx.flip(1)), "x["),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_equal_values_with_another_backward_are_different(way, place, dtype):
    verdict = same(lambda x: 2 * x, way, x.to(dtype))
    assert verdict.kind == "different"
    assert verdict.place.startswith(f"the gradient of {place}")
    assert str(verdict).startswith("equal values, different gradients: ")
    assert f" at the gradient of {place}" in str(verdict)
    assert same(lambda x: 2 * x, way, x.to(dtype), gradients=False)


def test_the_place_is_the_first_row_that_is_wrong():
    """A row of the batch by itself: the first is right."""
    verdict = same(twice(first_row_only), lambda x: 2 * x, x)
    assert verdict.place[:18] == "the gradient of x["
    assert int(verdict.place[18]) > 0
    assert same(twice(first_row_only), lambda x: 2 * x, x[:1])


def test_a_backward_that_rounds_worse_is_rounding():
    worse = twice(lambda dx: dx.bfloat16().to(dx.dtype))
    verdict = same(lambda x: 2 * x, worse, x + 0.001)
    assert verdict.kind == "rounding"
    assert str(verdict).startswith("the same function, but the gradient of ")
    assert "rounds worse than float32 allows" in str(verdict)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", ["matrix", "softmax", "scan", "chunk", "step", "fused"])
def test_the_forms_pass_the_same_gradients(form, dtype):
    verdict = same(mean.loop, getattr(mean, form), drawn(0, 2, 33, 3, dtype=dtype))
    assert verdict, verdict
    assert "gradients" not in str(verdict)


def test_every_argument_is_asked_and_named_as_in_the_lines_that_show_it():
    sequences = decay.MIXER.drawn(B=1, T=5, C=2, dtype=torch.float64)
    assert same(decay.loop, decay.scan, *sequences)
    names = []
    for i in range(4):
        cut = lambda *given, i=i: decay.scan(*given[:i], given[i].detach(), *given[i + 1 :])
        names.append(same(decay.loop, cut, *sequences).place.partition("[")[0])
    assert names == [f"the gradient of x{i}" for i in range(4)]
    _, state = mean.loop(x)
    cut = lambda x, state: mean.loop(x, type(state)(state.total.detach(), state.count))
    assert same(mean.loop, cut, x, state).place.startswith("the gradient of x1.total[")
    cut = lambda *, a: 2 * a.detach()
    assert same(lambda *, a: 2 * a, cut, a=x).place.startswith("the gradient of a[")


class Frozen(nn.Linear):
    """A layer that passes no gradient to its bias."""

    def forward(self, x):
        return F.linear(x, self.weight, self.bias.detach())


def pair():
    right, wrong = nn.Linear(2, 3), Frozen(2, 3)
    wrong.load_state_dict(right.state_dict())
    return right, wrong


def test_parameters_of_the_same_names_are_asked():
    right, wrong = pair()
    assert same(right, copy.deepcopy(right), x)
    for one, two in (
        (right, wrong),
        (wrong, right),
        (right, lambda x: 1 * wrong(x)),
        (right, wrong.forward),
    ):
        assert same(one, two, x).place.startswith("the gradient of bias["), (one, two)
        assert same(one, two, x, gradients=False)
    tokens = torch.tensor([[0, 1, 1]])
    table = nn.Embedding(2, 3)
    other = copy.deepcopy(table)
    assert same(table, other, tokens)
    assert not same(table, lambda i: other(i).detach() + 0 * other(i), tokens)


def test_parameters_of_other_names_are_not():
    right, wrong = pair()
    assert same(nn.Sequential(right), wrong, x)
    for p in wrong.parameters():
        p.requires_grad_(False)
    for one, two in ((right, wrong), (wrong, right)):  # frozen on purpose: it takes no gradient
        assert "gradients" not in str(verdict := same(one, two, x))
        assert verdict


def numbered(x):
    return torch.from_numpy(2 * x.detach().numpy())


def refused(x):
    return torch.from_numpy(2 * x.numpy())


@torch.no_grad()
def unrecorded(x):
    return 2 * x


def raising(dx):
    raise NotImplementedError("no backward yet")


@pytest.mark.parametrize(
    ("way", "note"),
    [
        (numbered, "numbered has none (it leaves torch or its autograd)"),
        (unrecorded, "unrecorded has none (it leaves torch or its autograd)"),
        (refused, "refused refuses them (RuntimeError: Can't call numpy()"),
        (twice(raising), "<lambda> refuses them (NotImplementedError: no backward yet)"),
    ],
)
def test_a_way_without_a_backward_is_a_note_and_the_verdict_by_value_stands(way, note):
    for verdict in (same(doubled, way, x), same(way, doubled, x)):
        assert verdict
        assert verdict.kind == "same"
        assert f"; gradients are not compared, {note}" in str(verdict)
        assert verdict.notes


def doubled(x):
    return x + x


def test_without_numbers_that_take_gradients_there_is_no_note():
    tokens = torch.arange(3)
    assert str(same(F.one_hot, F.one_hot, tokens)) == "the same function, bit for bit"
    assert "gradients" not in str(same(torch.argmax, lambda x: x.argmax(), x))
    assert "gradients" not in str(same(numbered, unrecorded, x))
    assert "gradients" not in str(same(lambda x: x.detach(), lambda x: 1 * x.data, x))


def test_a_kink_has_the_slope_of_either_side():
    zeros = torch.zeros(2, 3, 2)
    one, two = torch.relu, lambda x: x.clamp(min=0)
    assert same(one, two, zeros)
    assert same(lambda x: x.amax(1), lambda x: x.max(1).values, zeros + 1)
    verdict = same(torch.abs, lambda x: (x * x).sqrt(), zeros)
    assert "nan at the gradient of x[0, 0, 0]" in str(verdict)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_what_is_written_in_place_and_what_is_checkpointed():
    assert "gradients" not in str(same(doubled, lambda x: x.mul_(2), x))
    assert not same(doubled, lambda x: x.mul_(2).detach(), x)
    layer = nn.Linear(2, 2)
    reentrant = lambda x: checkpoint(layer, x, use_reentrant=True)
    verdict = same(layer, reentrant, x)
    assert verdict
    assert "gradients" not in str(verdict)
    drop = nn.Dropout(0.5)
    assert same(drop, lambda x: checkpoint(drop, x, use_reentrant=True), x)
    assert layer.weight.grad is None


def test_complex_and_strided_inputs():
    z = torch.view_as_complex(x)
    assert same(lambda z: z * 2, lambda z: z + z, z)
    assert not same(lambda z: z * 2, lambda z: z + z.detach(), z)
    for given in (x[:, ::2], x.transpose(0, 1), x[:, :1].expand(4, 5, 2)):
        assert same(doubled, lambda x: 2 * x, given)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_nothing_is_left_behind_and_the_answer_is_the_same_again():
    model, given, free = nn.Linear(2, 3), x.clone().requires_grad_(), torch.ones(2, 3)
    free.requires_grad_()
    kept = model.weight.grad = torch.ones(3, 2)
    state = torch.get_rng_state()
    wrong = lambda x: model(x) + (x @ free - (x @ free).detach())
    said = [str(same(model, wrong, given)) for _ in range(2)]
    assert said[0] == said[1]
    assert said[0].startswith("equal values, different gradients")
    assert model.weight.grad is kept
    assert bool((kept == 1).all())
    assert given.grad is free.grad is model.bias.grad is None
    assert torch.equal(torch.get_rng_state(), state)
    reentrant = lambda x: checkpoint(wrong, x, use_reentrant=True)
    same(wrong, reentrant, given)
    assert given.grad is free.grad is model.bias.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_does_not_matter_that_gradients_are_off_outside(mode):
    with mode():
        assert not same(doubled, lambda x: x + x.detach(), x)
        assert same(doubled, lambda x: 2 * x, 1 * x)
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("two", ["f", "g"])
def test_what_is_no_function_is_one_line_that_says_what_to_call(two):
    given = (x, x) if two == "f" else (torch.exp, x, x)
    with pytest.raises(TypeError) as told:
        trilby.same(*given)
    said = str(told.value)
    assert said.startswith(f"same: {two} is a Tensor, not a function; ")
    assert "trilby.same(f, g, x)" in said
    assert "torch.testing.assert_close(a, b)" in said
    assert "\n" not in said
    with pytest.raises(TypeError, match=r"^same: f is a float, not a function; [^;]*$"):
        same(0.5, torch.exp, x)
