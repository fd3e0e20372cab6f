"""A form is timed after its verdict, and a wrong one is not timed at all."""

import dataclasses
import json

import pytest
import torch

import trilby
from trilby import bench
from trilby.bench import forms as module
from trilby.bench import proof
from trilby.errors import FormError

SIZE = dict(B=2, T=16, C=4, rounds=2)


def with_form(name, form):
    return dataclasses.replace(trilby.mean, forms={**trilby.mean.forms, name: form})


def late(x, state=None):
    """Right but for the last position, which it forgets."""
    y, state = trilby.mean.scan(x, state)
    y = y.clone()
    y[:, -1] = y[:, -2]
    return y, state


def far(x, state=None):
    """Right for the sizes that the loop can do."""
    return late(x, state) if x.shape[1] > 13 else trilby.mean.scan(x, state)


def deaf(x, state=None):
    """The right answer with the gradient of something else."""
    y, state = trilby.mean.scan(x, state)
    return y.detach() + 0 * x, state


def test_of_several_sequences_cumsum_says_nothing_and_is_not_timed():
    found = bench.mixer(trilby.decay, B=1, T=8, C=2, forms=["step"], rounds=1)
    assert list(found.timings.seconds) == ["y.copy_(x)", "step"]
    assert "times_cumsum" not in found.as_dict()["ways"]["step"]
    assert "cumsum" not in str(found)


def test_every_form_is_timed_beside_the_copy_and_cumsum():
    found = bench.mixer(trilby.mean, **SIZE)
    assert bool(found)
    assert list(found.timings.seconds) == ["y.copy_(x)", "cumsum(x, 1) / n", *trilby.mean.forms]
    assert all(len(verdicts) == (form != "loop") + 1 for form, verdicts in found.verdicts.items())
    assert "against the loop at [2, 13, 3]" in str(found)
    assert "against chunk at [2, 16, 4]" in str(found)
    assert "against chunk at [2, 16, 4]" in str(found.verdicts["scan"][1])


@pytest.mark.parametrize(("wrong", "against"), [(late, "the loop at"), (far, "chunk at")])
@pytest.mark.parametrize("whole", [proof.WHOLE, 0])  # judged by `same`, and by one comparison
def test_a_wrong_form_is_refused(monkeypatch, wrong, against, whole):
    monkeypatch.setattr(proof, "WHOLE", whole)
    found = bench.mixer(with_form("fused", wrong), forms=["fused", "chunk"], **SIZE)
    assert not found
    assert "fused" not in found.timings.seconds
    assert "chunk" in found.timings.seconds
    assert found.left_out["fused"].startswith(f"refused against {against}")
    assert "differ by" in found.left_out["fused"]
    assert [v.ok for v in found.verdicts["fused"]] == ([True, False] if wrong is far else [False])


@pytest.mark.parametrize("whole", [proof.WHOLE, 0])
def test_a_wrong_gradient_is_refused_where_gradients_are_timed(monkeypatch, whole):
    monkeypatch.setattr(proof, "WHOLE", whole)
    mixer = with_form("fused", deaf)
    assert bench.mixer(mixer, forms=["fused"], **SIZE)
    found = bench.mixer(mixer, forms=["fused", "scan"], backward=True, **SIZE)
    assert not found
    assert "gradients" in found.left_out["fused"]
    assert list(found.timings.seconds) == ["y.copy_(x), twice", "cumsum(x, 1) / n", "scan"]


@pytest.mark.parametrize(
    ("dtype", "times"),  # bfloat16 has two digits: eight units of it are three hundredths
    [(torch.float64, 1.1), (torch.float32, 1.1), (torch.bfloat16, 1.25), (torch.float16, 1.1)],
)
def test_the_one_comparison_passes_right_forms_and_sees_one_element(monkeypatch, dtype, times):
    monkeypatch.setattr(proof, "WHOLE", 0)
    found = bench.mixer(trilby.mean, dtype=dtype, **SIZE)
    assert found, found
    assert "one direct comparison in float64" in str(found)

    def once(x):
        y, state = trilby.mean.fused(x)
        y[0, 3, 1] *= times
        return y, state

    verdict = proof.compare(trilby.mean.scan, once, *trilby.mean.draw(dtype=dtype))
    assert (verdict.ok, verdict.place) == (False, "y[0, 3, 1]")


@pytest.mark.parametrize(
    "way",
    [
        lambda x: trilby.mean.scan(x)[0],
        lambda x: (trilby.mean.scan(x)[0][:, :1], trilby.mean.scan(x)[1]),
        lambda x: (trilby.mean.scan(x)[0] * torch.nan, trilby.mean.scan(x)[1]),
        lambda x: (trilby.mean.scan(x)[0], trilby.mean.scan(x)[1]._replace(count=torch.ones(2))),
    ],
)
def test_the_one_comparison_denies_what_broadcasts_is_missing_or_is_nan(way):
    ones = torch.ones(2, 5, 3)  # whose running mean is 1 everywhere: a lost axis would not show
    assert proof.compare(trilby.mean.scan, trilby.mean.step, ones)
    assert not proof.compare(trilby.mean.scan, way, ones)


def test_a_form_too_costly_is_left_out_unless_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    monkeypatch.setattr(module, "FIRST", 4)
    found = bench.mixer(trilby.mean, **SIZE)
    assert set(found.left_out) == set(trilby.mean.forms)
    assert "16 positions would take more than 0 s" in found.left_out["loop"]
    assert bool(found)  # nothing was refused
    assert bench.mixer(trilby.mean, forms=["step"], **SIZE).left_out == {}


def test_the_dict_is_json_and_carries_the_machine():
    found = bench.mixer(trilby.mean, forms=["scan"], **SIZE).as_dict()
    told = json.loads(json.dumps(found))
    assert told == found
    assert told["ok"] is True
    assert (told["shape"], told["dtype"], told["rounds"]) == ([2, 16, 4], "float32", 2)
    assert told["machine"]["versions"]["torch"]
    assert told["threads"] == torch.get_num_threads()
    assert set(told["ways"]["scan"]) == {"median_s", "quartiles_s", "of_copy", "times_cumsum"}


def test_a_form_that_is_not_there_is_named():
    with pytest.raises(FormError, match="conv has no form 'scan': a prefix of a conv"):
        bench.mixer(trilby.conv, forms=["scan"], **SIZE)
    with pytest.raises(FormError, match="mean has no form 'sacn': take one of loop matrix"):
        bench.mixer(trilby.mean, forms=["sacn"], **SIZE)


def test_a_comparison_tries_further_changes_before_it_refuses(monkeypatch):
    """The sum of two numbers does not move where the changes of both cancel."""
    x, calls = torch.ones(1, 1, 2), []

    def total(x):
        calls.append(x)
        return x.sum(-1, keepdim=True)

    def off(x):
        return x.sum(-1, keepdim=True) * (1 + 1.2e-6)

    assert proof.compare(total, off, x)
    assert 2 < len(calls) < 1 + proof.PROBES
    calls.clear()
    assert not proof.compare(total, lambda x: x.sum(-1, keepdim=True) * 1.1, x)
    assert len(calls) == 1 + proof.PROBES
    monkeypatch.setattr(proof, "PROBES", 1)
    assert not proof.compare(total, off, x)
