"""What is said to wrong input: one line with the call, the argument, its value and what to do."""

import numpy as np
import pytest
import torch

import trilby
from trilby.errors import (
    CallError,
    DtypeError,
    FormError,
    ShapeError,
    StateError,
    TrilbyError,
)

X = torch.zeros(2, 5, 4)
TOTAL = torch.zeros(2, 4, dtype=torch.float64)
COUNT = torch.ones(2, dtype=torch.int64)
TAKES = "expected float64, float32, bfloat16 or float16; convert it first, e.g. x."
PAIR = "expected the pair (total [B, C], count [B]) that an earlier call returned"

WRONG = [
    (X[0], None, ShapeError, "x is [5, 4], expected rank 3 [B T C]; add the missing axes"),
    (X[None], None, ShapeError,
     "x is [1, 2, 5, 4], expected rank 3 [B T C]; index or merge the extra axes"),
    (torch.tensor(1.0), None, ShapeError, "x is [], expected rank 3 [B T C]; add the missing axes"),
    (X.int(), None, DtypeError, f"x is int32, {TAKES}float()"),
    (X.long(), None, DtypeError, f"x is int64, {TAKES}float()"),
    (X.bool(), None, DtypeError, f"x is bool, {TAKES}float()"),
    (X + 0j, None, DtypeError, f"x is complex64, {TAKES}real"),
    (X.to(torch.float8_e5m2), None, DtypeError, f"x is float8_e5m2, {TAKES}float()"),
    ([[[1.0]]], None, DtypeError,
     "x is a list, expected a tensor [B T C]; convert it first, e.g. torch.as_tensor(x)"),
    (np.zeros((2, 5, 4)), None, DtypeError,
     "x is a numpy.ndarray, expected a tensor [B T C]; convert it first, e.g. torch.as_tensor(x)"),
    (None, None, DtypeError, "x is None, expected a tensor [B T C]; give one"),
    (X, (TOTAL[:, :3], COUNT), ShapeError,
     "total is [2, 3], expected [B C] with C=4 (from x)"),
    (X, (TOTAL[:1], COUNT), ShapeError, "total is [1, 4], expected [B C] with B=2 (from x)"),
    (X, (TOTAL[0], COUNT), ShapeError, "total is [4], expected rank 2 [B C]; add the missing axes"),
    (X, (TOTAL, COUNT[:1]), ShapeError, "count is [1], expected [B] with B=2 (from x)"),
    (X, (TOTAL, torch.tensor(3)), ShapeError,
     "count is [], expected rank 1 [B]; add the missing axes"),
    (X, (None, COUNT), DtypeError, "total is None, expected a tensor [B C]; give one"),
    (X, (TOTAL, None), DtypeError, "count is None, expected a tensor [B]; give one"),
    (X, (TOTAL, 3), DtypeError,
     "count is an int, expected a tensor [B]; convert it first, e.g. torch.as_tensor(count)"),
    (X, (TOTAL.float(), COUNT), DtypeError,
     "total is float32, expected float64; convert it, e.g. total.to(torch.float64)"),
    (X, (TOTAL, COUNT.int()), DtypeError,
     "count is int32, expected int64; convert it, e.g. count.to(torch.int64)"),
    (X, (TOTAL, COUNT.float()), DtypeError,
     "count is float32, expected int64; convert it, e.g. count.to(torch.int64)"),
    (X, (TOTAL.to("meta"), COUNT), DtypeError,
     "total is on meta but the sequence is on cpu; move it, e.g. total.to('cpu')"),
    (X, (TOTAL, COUNT.to("meta")), DtypeError,
     "count is on meta but the sequence is on cpu; move it, e.g. count.to('cpu')"),
    (X, (TOTAL, torch.tensor([3, -2])), StateError,
     "count is -2, but positions are counted from 0; give the state that an earlier call returned"),
    (X, (TOTAL + 1, torch.tensor([3, 0])), StateError,
     "total is not 0 where count is 0; start from state=None"),
    (X, [TOTAL, COUNT], StateError, f"state is a list, {PAIR}"),
    (X, TOTAL, StateError, f"state is a torch.Tensor, {PAIR}"),
    (X, {"total": TOTAL}, StateError, f"state is a dict, {PAIR}"),
    (X, (TOTAL, COUNT, COUNT), StateError, f"state is a tuple of 3, {PAIR}"),
    (X, (), StateError, f"state is a tuple of 0, {PAIR}"),
]  # fmt: skip


@pytest.mark.parametrize("call", [*trilby.mean.forms, "weights"])
@pytest.mark.parametrize(
    ("x", "state", "error", "sentence"), WRONG, ids=lambda v: str(v)[:0] or None
)
def test_a_wrong_sequence_or_state(call, x, state, error, sentence):
    with pytest.raises(error) as caught:
        getattr(trilby.mean, call)(x, state)
    assert str(caught.value) == f"mean.{call}: {sentence}"


@pytest.mark.parametrize(
    ("x", "state", "error", "sentence"), WRONG, ids=lambda v: str(v)[:0] or None
)
def test_the_plain_call_names_the_form_that_ran(x, state, error, sentence):
    with pytest.raises(error) as caught:
        trilby.mean(x, state)
    assert str(caught.value) == f"mean.fused: {sentence}"


CALLS = [
    (lambda: trilby.mean(X, form="fusd"), FormError,
     "mean: form is 'fusd', which does not exist; did you mean 'fused'? "
     "(loop matrix softmax scan chunk step fused)"),
    (lambda: trilby.mean(X, form="zzz"), FormError,
     "mean: form is 'zzz', which does not exist; take one of "
     "(loop matrix softmax scan chunk step fused)"),
    (lambda: trilby.mean(X, form=["loop"]), FormError,
     "mean: form is ['loop'], which does not exist; did you mean 'loop'? "
     "(loop matrix softmax scan chunk step fused)"),
    (lambda: trilby.mean(X, form="shard"), FormError,
     "mean: there is no form 'shard': there is no transport between processes yet"),
    (lambda: trilby.mean.shard, AttributeError,
     "mean: there is no form 'shard': there is no transport between processes yet"),
    (lambda: trilby.mean.lop, AttributeError, "mixer mean has no 'lop'"),
    (lambda: trilby.mean(X, size=3), CallError,
     "mean: there is no argument size (given 3) among x, state, documents; "
     "it belongs to form='chunk'"),
    (lambda: trilby.mean(X, form="scan", size=3), CallError,
     "mean.scan: there is no argument size (given 3) among x, state, documents; "
     "it belongs to form='chunk'"),
    (lambda: trilby.mean(X, dim=1), CallError,
     "mean: there is no argument dim (given 1) among x, state, documents; leave it out"),
    (trilby.mean, CallError, "mean: x is missing; the call takes x, state, documents"),
    (lambda: trilby.mean(state=None, form="step"), CallError,
     "mean.step: x is missing; the call takes x, state, documents"),
    (lambda: trilby.mean(X, None, None, 3), CallError,
     "mean: 4 arguments by place, expected at most 3 (x, state, documents); leave out the rest"),
    (lambda: trilby.mean(X, None, None, 3, form="chunk"), CallError,
     "mean.chunk: 4 arguments by place, expected at most 3 (x, state, documents); "
     "leave out the rest"),
    (lambda: trilby.mean(X, x=X), CallError,
     "mean: x is given twice, by place and by name; drop one"),
    *[(lambda n=n: trilby.mean(X, form="chunk", size=n), ShapeError,
       f"mean.chunk: size is {n!r}, expected a whole number of positions, at least 1")
      for n in (0, -3, 2.5, "8", None)],
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "sentence"), CALLS)
def test_a_wrong_call(call, error, sentence):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == sentence
    assert isinstance(caught.value, (TrilbyError, AttributeError))


def test_a_form_that_cannot_run_here_says_so(monkeypatch):
    monkeypatch.setattr("trilby.kernels.ops.DEVICES", ("cuda", "meta"))
    for call in (trilby.mean.fused, lambda x: trilby.mean(x, form="fused")):
        with pytest.raises(FormError) as caught:
            call(X)
        assert str(caught.value) == (
            "mean.fused: x is on cpu, the kernel runs on cuda meta; move x, or take form='scan'"
        )


def test_every_sentence_is_one_line_and_says_what_to_do():
    for *_, sentence in WRONG + CALLS:
        assert "\n" not in sentence
        assert len(sentence) < 200
