"""What the mean says to a state that no past left; `test_wrong.py` has what all mixers say."""

import pytest
import torch

import trilby
from trilby.errors import DtypeError, ShapeError, StateError

X = torch.zeros(2, 5, 4)
TOTAL = torch.zeros(2, 4, dtype=torch.float64)
COUNT = torch.ones(2, dtype=torch.int64)
PAIR = "expected the pair (total [B, C], count [B]) that an earlier call returned"

WRONG = [
    ((TOTAL[:, :3], COUNT), ShapeError,
     "total is [2, 3], expected [B C] with C=4 (from x)"),
    ((TOTAL[:1], COUNT), ShapeError, "total is [1, 4], expected [B C] with B=2 (from x)"),
    ((TOTAL[0], COUNT), ShapeError, "total is [4], expected rank 2 [B C]; add the missing axes"),
    ((TOTAL, COUNT[:1]), ShapeError, "count is [1], expected [B] with B=2 (from x)"),
    ((TOTAL, torch.tensor(3)), ShapeError,
     "count is [], expected rank 1 [B]; add the missing axes"),
    ((None, COUNT), DtypeError, "total is None, expected a tensor [B C]; give one"),
    ((TOTAL, None), DtypeError, "count is None, expected a tensor [B]; give one"),
    ((TOTAL, 3), DtypeError,
     "count is an int, expected a tensor [B]; convert it first, e.g. torch.as_tensor(count)"),
    ((TOTAL, COUNT.float()), DtypeError,
     "count is float32, expected int64; convert it, e.g. count.to(torch.int64)"),
    ((TOTAL, torch.tensor([3, -2])), StateError,
     "count is -2, but positions are counted from 0; give the state that an earlier call returned"),
    ((TOTAL + 1, torch.tensor([3, 0])), StateError,
     "total is not 0 where count is 0; start from state=None"),
    ([TOTAL, COUNT], StateError, f"state is a list, {PAIR}"),
    (TOTAL, StateError, f"state is a torch.Tensor, {PAIR}"),
    ({"total": TOTAL}, StateError, f"state is a dict, {PAIR}"),
    ((TOTAL, COUNT, COUNT), StateError, f"state is a tuple of 3, {PAIR}"),
    ((), StateError, f"state is a tuple of 0, {PAIR}"),
]  # fmt: skip


@pytest.mark.parametrize("call", [*trilby.mean.forms, "weights"])
@pytest.mark.parametrize(("state", "error", "sentence"), WRONG, ids=lambda v: str(v)[:0] or None)
def test_a_wrong_state(call, state, error, sentence):
    with pytest.raises(error) as caught:
        getattr(trilby.mean, call)(X, state)
    assert str(caught.value) == f"mean.{call}: {sentence}"


def test_the_plain_call_of_one_position_names_the_form_that_ran():
    with pytest.raises(StateError) as caught:
        trilby.mean(X[:, :1], ())
    assert str(caught.value) == f"mean.step: state is a tuple of 0, {PAIR}"


def test_every_sentence_is_one_line_and_short():
    for *_, sentence in WRONG:
        assert "\n" not in sentence
        assert len(sentence) < 200
