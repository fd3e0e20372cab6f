"""Functions that reach a module are judged like the module, by `check` and by `same`."""

from functools import partial

import pytest
import torch
from torch import nn

import trilby
from trilby.verify.copies.owning import Owning, owning
from trilby.verify.subjects.prepare import prepared


class Model(nn.Module):
    """Tokens to logits; `fault` opens with other parameters, in training mode, or in float32."""

    def __init__(self, fault=""):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.fault = nn.Embedding(9, 8), nn.Linear(8, 9), fault
        self.gate = nn.Parameter(torch.zeros(8))

    def forward(self, ids):
        return self.decode(ids), "more"

    def decode(self, ids):
        x = self.embed(ids)
        h = x.cumsum(1) / torch.arange(1, ids.shape[1] + 1)[:, None]
        if self.fault == "gate" or (self.fault == "train" and self.training):
            h = h + (1.0 if self.fault == "train" else self.gate) * x.mean(1, keepdim=True)
        if self.fault == "gradient":
            h = h.detach() + x - x
        return self.head(h)


class Trainer:
    """No module, and it has one."""

    def __init__(self, model):
        self.model = model

    def logits(self, ids):
        return self.model(ids)[0]

    def __call__(self, ids):
        return self.logits(ids)


GLOBAL = Model("gate")


def by_name(ids):
    return through(ids)


def through(ids):
    return next(GLOBAL(row)[0] for row in [ids])


def ids(T=16):
    return torch.randint(0, 9, (2, T), generator=torch.Generator().manual_seed(0))


def ways(model):
    def inner(ids, more=1):
        return model(ids)[0] * more

    def with_default(ids, model=model):
        return model(ids)[0]

    return {
        "lambda": lambda ids: model(ids)[0],
        "nested": lambda ids: inner(ids) + 0,
        "partial": partial(inner, more=2),
        "default": with_default,
        "method": model.decode,
        "of an object": Trainer(model).logits,
        "object": Trainer(model),
    }


@pytest.mark.parametrize("way", ways(Model()))
@pytest.mark.parametrize(
    ("fault", "law", "kind"),
    [
        ("gate", "causal", "hidden leak"),
        ("train", "causal", "leak"),
        ("gradient", "differentiates", "gradient missing"),
    ],
)
def test_a_fault_is_found_behind_a_function(way, fault, law, kind):
    model = Model(fault)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    report = trilby.check(ways(model)[way], ids(), laws=[law], effort="quick")
    [first] = report.first()
    assert first.kind == kind, first.sentence
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    assert model.head.weight.dtype == torch.float32


@pytest.mark.parametrize("way", ["lambda", "object", "method"])
def test_a_right_one_is_accepted_and_no_law_is_weaker(way):
    model = Model()
    report = trilby.check(ways(model)[way], ids(), effort="quick")
    assert report, str(report)
    whole = trilby.check(model, ids(), effort="quick")
    assert {v.law: v.outcome for v in report} == {v.law: v.outcome for v in whole}
    of = lambda r: {k[1]: v for k, v in r.tried.items()}
    assert of(report) == of(whole)
    assert not report.limits


def test_names_of_the_file_are_followed():
    assert trilby.check(by_name, ids(), laws=["causal"], effort="quick").first()[0].kind == (
        "hidden leak"
    )
    assert isinstance(prepared(by_name, ids()).target, Owning)
    assert not any(GLOBAL.gate.tolist())


def test_a_copy_is_bound_to_the_copies_and_the_original_to_the_originals():
    model = Model()
    whole = owning(lambda ids: model(ids)[0], "f")
    other = trilby.verify.copies.nested.convert(whole, torch.float64)
    assert other(ids()).dtype == torch.float64
    assert whole(ids()).dtype == torch.float32
    assert {id(p) for p in other.parameters()}.isdisjoint({id(p) for p in model.parameters()})


def test_a_function_that_reaches_nothing_is_itself():
    way = lambda x: x.cumsum(1)
    assert owning(way, "f") is way


def test_a_reproducer_of_a_function_says_what_its_modules_are_like():
    [first] = trilby.check(by_name, ids(), laws=["causal"], effort="quick").first()
    lines = first.reproducer.splitlines()
    at = lines.index(f"from {__name__} import by_name")
    assert lines[at + 1] == "f = by_name"
    assert "# the modules that f reaches: in torch.float32, mode redrawn" in lines


def test_same_has_twins_of_what_a_function_reaches():
    """A difference below the rounding of float32 shows in float64 alone."""
    model, other = Model(), Model()
    other.head.bias.data += 2e-7
    assert trilby.same(lambda i: model(i)[0], model.decode, ids())
    found = trilby.same(lambda i: model(i)[0], lambda i: other(i)[0], ids())
    assert found.kind == "different", found.sentence
    assert "float64" in found.sentence
    assert model.head.weight.dtype == torch.float32
