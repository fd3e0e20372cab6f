"""Whatever a way does to the world is as before afterwards, also after an exception."""

import random
from functools import partial

import numpy as np
import pytest
import torch
from tests.verify.ways import DTYPES, drawn

from trilby.verify import same
from trilby.verify.copies.reached import reached, restored

x = drawn(1337)
Interrupted = (None, ValueError, KeyboardInterrupt)


class Counts(torch.nn.Module):
    """Changes its buffer, its parameter, an attribute and its mode at each call, or raises."""

    def __init__(self, raises=None):
        super().__init__()
        self.raises = raises
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))
        self.seen = 0

    def forward(self, x):
        with torch.no_grad():
            self.calls += 1
            self.scale += 1
            self.calls = self.calls + 1
        self.seen += 1
        self.train(not self.training)
        self.late = torch.ones(1)
        if self.raises:
            raise self.raises
        return x * self.scale


def state_of(model):
    tensors = {k: v.item() for k, v in model.state_dict().items()}
    return tensors, model.seen, model.training, hasattr(model, "late"), model.scale.dtype


def judged(f, g, *args):
    try:
        return same(f, g, *args)
    except KeyboardInterrupt:
        return None


MODEL = Counts()


@pytest.mark.parametrize("raises", Interrupted)
@pytest.mark.parametrize("reach", ["given", "closure", "method", "partial", "default", "file"])
def test_a_module_is_as_before(raises, reach):
    MODEL.raises = raises
    model = MODEL if reach == "file" else Counts(raises)
    way = {
        "given": model,
        "method": model.forward,
        "closure": lambda x: 1 * model(x),
        "partial": partial(lambda m, x: m(x), model),
        "default": lambda x, m=model: m(x),
        "file": lambda x: 1 * MODEL(x),
    }[reach]
    before, memory = state_of(model), model.scale.data_ptr()
    verdict = judged(way, lambda x: 2 * x, x)
    assert state_of(model) == before
    assert model.scale.data_ptr() == memory
    if raises is None:
        assert verdict, verdict
    elif raises is ValueError:
        assert "raises ValueError" in str(verdict)


def test_every_call_starts_from_the_same_state():
    model = Counts()
    assert same(lambda x: 1 * model(x), lambda x: 1 * model(x), x)
    assert same(model, lambda x: 1 * model(x), x)


def test_modules_are_found_where_a_function_reaches_them():
    model = Counts()
    inner = lambda x: 1 * model(x)
    outer = lambda x: 1 * inner(x)
    assert reached(outer) == [model]
    assert reached(partial(outer, 3)) == [model]
    assert reached(model) == []
    assert reached(torch.exp) == []
    assert MODEL in reached(state_reader)


def state_reader(x):
    return MODEL(x)


def test_a_name_bound_later_is_no_module():
    def outer():
        way = lambda x: 1 * later(x)
        found = reached(way)
        later = torch.exp
        return found, later

    assert outer()[0] == []


def test_changes_last_as_long_as_the_call():
    model = Counts()
    before = state_of(model)
    with restored(lambda x: 1 * model(x)):
        model(x)
        assert state_of(model) != before
    assert state_of(model) == before


@pytest.mark.parametrize("raises", Interrupted)
def test_the_world_is_as_before(raises):
    def meddles(x):
        torch.manual_seed(7), np.random.seed(7), random.seed(7)
        torch.rand(3), np.random.rand(3), random.random()
        torch.set_default_dtype(torch.float16)
        torch.set_grad_enabled(False)
        if raises:
            raise raises
        return x

    def world():
        of_numpy = np.random.get_state()
        return (
            torch.get_rng_state().tolist(),
            of_numpy[1].tolist(),
            of_numpy[2],
            random.getstate(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )

    before = world()
    judged(meddles, meddles, x)
    assert world() == before


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "coin",
    [
        lambda x: torch.rand(x.shape).to(x.dtype),
        lambda x: torch.randn(x.shape, dtype=x.dtype),
        torch.rand_like,
        lambda x: torch.empty_like(x).normal_(),
        lambda x: torch.bernoulli(torch.full_like(x, 0.3)),
        lambda x: torch.from_numpy(np.random.rand(*x.shape)).to(x.dtype),
        lambda x: torch.full_like(x, random.random()),
        lambda x: torch.nn.functional.dropout(torch.ones_like(x), 0.5),
    ],
)
def test_random_numbers_are_the_same_for_both_ways(coin, dtype):
    given = x.to(dtype)
    verdict = same(lambda x: x + coin(x), lambda x: coin(x) + x, given)
    assert verdict, verdict
    verdict = same(lambda x: x + coin(x), lambda x: x + 0 * coin(x) + coin(x), given)
    assert verdict.kind == "different", verdict


def test_a_module_with_dropout_is_the_same_as_itself():
    model = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Dropout(0.5))
    assert same(model, lambda x: 1 * model(x), x)
    assert not same(model, lambda x: 1 * model.eval()(x), x)
    assert model.training


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_is_changed_in_place_stays_with_the_call(dtype):
    given = {"x": [x.to(dtype), np.ones(3, np.float32)]}
    before = given["x"][0].clone()

    def writes(nested):
        nested["x"][1] += 1
        return nested["x"].pop(0).mul_(3)

    assert same(writes, lambda nested: 3 * nested["x"][0], given)
    assert torch.equal(given["x"][0], before)
    assert given["x"][1].tolist() == [1, 1, 1]


def test_a_way_may_take_gradients():
    def slope(x):
        x = x.requires_grad_()
        return torch.autograd.grad(x.pow(3).sum(), x)[0]

    assert same(slope, lambda x: 3 * x**2, x)
    assert not same(slope, lambda x: 3.003 * x**2, x)
    with torch.no_grad():
        assert not same(slope, lambda x: 3 * x**2, x)
    assert not x.requires_grad
