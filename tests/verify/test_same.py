"""What `same` takes, says and compares; denials are in test_denials.py."""

import numpy as np
import pandas as pd
import pytest
import torch
from tests.verify.ways import DTYPES, drawn

import trilby
from trilby.mixers import mean
from trilby.verify.same import same

x = drawn(1337)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", ["matrix", "softmax", "scan", "chunk", "step", "fused"])
def test_the_forms_of_the_mean_are_one_function(form, dtype):
    verdict = same(mean.loop, getattr(mean, form), x.to(dtype))
    assert verdict, verdict
    assert verdict.subject == f"loop = {form}"


def test_a_mixer_is_a_way():
    verdict = trilby.same(trilby.mean.loop, trilby.mean, x)
    assert verdict, verdict
    assert verdict.subject == "loop = mean"


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 3), (2, 3, 0), (1, 1, 1)])
def test_empty_sequences(shape):
    assert same(mean.loop, mean.scan, torch.ones(shape))
    assert same(lambda x: x, lambda x: x.clone(), torch.ones(shape))


@pytest.mark.parametrize(
    "view", [lambda x: x[:, ::2], lambda x: x.transpose(0, 1), lambda x: x[:, :1].expand(4, 5, 2)]
)
def test_strides_reach_the_ways(view):
    seen = []
    given = view(x)
    assert same(lambda x: seen.append(x.stride()) or x + 0, lambda x: 1 * x, given)
    assert set(seen) == {given.stride()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_pandas_is_a_peer(dtype):
    def expanding(x):
        rows = [pd.DataFrame(row.numpy()).expanding().mean().to_numpy() for row in x]
        return torch.from_numpy(np.stack(rows)).to(x.dtype)

    assert same(mean.loop, expanding, drawn(3, 2, 40, 3, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_numpy_is_a_peer_and_its_arrays_are_compared(dtype):
    def cumulated(x):
        return (
            np.cumsum(x.numpy(), 1) / np.arange(1, x.shape[1] + 1, dtype=x.numpy().dtype)[:, None]
        )

    verdict = same(mean.loop, cumulated, x.to(dtype))
    assert verdict, verdict
    assert same(np.cumsum, lambda a: np.add.accumulate(a.ravel()), x.to(dtype).numpy())
    assert not same(np.cumsum, lambda a: 1.001 * np.add.accumulate(a.ravel()), x.to(dtype).numpy())


def test_a_result_without_a_state_is_compared_alone_and_the_sentence_says_so():
    bare = lambda x: mean.matrix(x)[0]
    verdict = same(mean.loop, bare, x)
    assert verdict
    assert str(verdict).endswith("; y alone is compared, <lambda> returns no state")
    assert "<lambda> returns no state" in str(same(lambda x: x, mean.loop, x[:, :1]))
    assert not same(lambda x: 2 * x, mean.loop, x)
    assert same(lambda x: (x, None), lambda x: x, x)


def test_pairs_tuples_and_nests_are_told_apart():
    one = same(lambda x: x, lambda x: (x,), x)
    assert str(one) == "<lambda> (the first) returns y, <lambda> (the second) y.0"
    assert not same(lambda x: (x, x, x), lambda x: x, x)
    assert not same(lambda x: torch.stack([x, x]), lambda x: (x, x), x)
    assert not same(lambda x: (x, {"a": x}), lambda x: (x, {"b": x}), x)
    assert same(lambda x: {"a": x, "b": 2 * x}, lambda x: {"b": x + x, "a": x}, x)
    assert not same(lambda x: {"a": x, "b": 2 * x}, lambda x: {"b": x, "a": 2 * x}, x)
    assert same(lambda x: (x, [x, (x, 3)]), lambda x: [x, (x, [x, 3])], x)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (3, 3, "same"),
        (3, 4, "different"),
        (3, 3.0, "different"),
        ("a", "a", "same"),
        (True, 1, "different"),
        (np.int64(3), np.int64(3), "same"),
        (np.int64(3), np.int64(4), "different"),
        (None, 3, "different"),
        (0.1 + 0.2, 0.3, "same"),
        (float("nan"), float("nan"), "same"),
        (float("nan"), 1.0, "different"),
        (torch.float32, torch.float32, "same"),
        (torch.tensor([1, 2]), torch.tensor([1, 3]), "different"),
        (torch.tensor(1), torch.tensor(1, dtype=torch.int32), "different"),
        (torch.tensor(1 + 2j), torch.tensor(1 + 2j), "same"),
        (torch.tensor(1 + 2j), torch.tensor(1 + 3j), "different"),
        (np.array(["a", "b"]), np.array(["a", "b"]), ""),
        (object(), object(), ""),
        (None, None, ""),
    ],
)
def test_leaves_that_are_no_tensors_have_a_verdict(one, other, kind):
    alone = same(lambda x: one, lambda x: other, x)
    assert alone.kind == kind, alone
    beside = same(lambda x: (x, one), lambda x: (x, other), x)
    assert beside.kind == (kind if one is not None or other is not None else "same"), beside


def test_a_number_is_judged_in_the_dtype_it_came_from():
    many = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    assert same(lambda x: x.sum().item(), lambda x: float(np.cumsum(x.numpy())[-1]), many)
    assert not same(lambda x: x.sum().item(), lambda x: 1.001 * x.sum().item(), many)


def test_modules_and_methods_are_ways():
    model = torch.nn.Linear(2, 3)
    explicit = lambda x: x @ model.weight.T + model.bias
    for way in (model, model.forward):
        verdict = same(way, explicit, x)
        assert verdict, verdict
    assert not same(model, lambda x: 1.001 * explicit(x), x)
    assert same(model, explicit, x).subject == "Linear = <lambda>"


def test_arguments_by_name():
    assert same(torch.add, lambda x, *, other: x + other, x, other=2)
    assert same(lambda *, x: x, lambda *, x: x + 0, x=x)


def test_no_arguments():
    with pytest.raises(TypeError, match=r"^same: no arguments; .* e\.g\. same\(f, g, x\)$"):
        same(torch.exp, torch.exp)


def test_the_sentence_carries_numbers_and_dtype():
    assert str(same(torch.exp, torch.exp, x)) == "the same function, bit for bit (float32)"
    verdict = same(lambda x: 3 * x, lambda x: 3 * x + 0.5, torch.ones(1))
    assert str(verdict) == (
        "different functions: they differ by 5.0e-01 at y[0], allowed 4.5e-08 (float64)"
    )
    assert (verdict.error, verdict.place, verdict.law) == (0.5, "y[0]", "same")


def test_a_way_that_raises_is_no_exception():
    def broken(x):
        raise ValueError("no\nway")

    assert str(same(torch.exp, broken, x)) == "broken raises ValueError: no"
    assert same(torch.exp, broken, x).kind == "different"
    both = same(broken, broken, x)
    assert (both.outcome, bool(both)) == ("not run", False)


def test_an_argument_that_cannot_be_copied():
    module = torch.nn.Linear(1, 1)
    module.lock = __import__("threading").Lock()
    verdict = same(module, torch.exp, x)
    assert verdict.outcome == "not run"
    assert "Linear or an argument cannot be copied (TypeError: " in str(verdict)


@pytest.mark.parametrize("shape", [(4, 8, 2), (1, 1000, 1000)])
def test_a_size_does_not_change_how_often_each_is_called(shape):
    """What an answer costs is said in calls. Seen to fail with 16 probes where there are 8."""
    calls = []
    given = drawn(0, *shape)
    one, two = counted(mean.scan, calls), counted(mean.fused, calls)
    assert same(one, two, given, gradients=False)
    assert (calls.count(mean.scan), calls.count(mean.fused)) == (11, 2)


def test_gradients_cost_as_many_calls_again():
    calls = []
    one, two = counted(mean.scan, calls), counted(mean.fused, calls)
    assert same(one, two, drawn(0, 1, 100, 3))
    assert (calls.count(mean.scan), calls.count(mean.fused)) == (22, 4)


def counted(f, calls):
    """The same function, which appends itself to the calls."""
    return lambda given: calls.append(f) or f(given)
