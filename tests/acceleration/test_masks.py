"""The masks of attention layers beside ours, in models that make them without their positions."""

import pytest
import torch
from transformers.models.granitemoehybrid import modeling_granitemoehybrid as module

from tests.acceleration.models import T, logits, model_of, tokens
from trilby.transformers import accelerated, masks, passing
from trilby.transformers.packed import of_call

pytestmark = pytest.mark.filterwarnings("ignore")
FIRST = 8
POSITIONS = torch.cat([torch.arange(FIRST), torch.arange(T - FIRST)])[None]


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa", "trilby"])
def test_attention_that_is_told_no_positions_keeps_packed_sequences_apart(attention):
    model, ids = model_of("granitemoehybrid"), tokens()
    model.set_attn_implementation(attention)
    before = module.create_causal_mask
    alone = torch.cat([logits(model, part) for part in (ids[:, :FIRST], ids[:, FIRST:])], 1)
    limit = dict(rtol=0, atol=1e-6 * float(alone.abs().max()))  # references compute in float32
    with accelerated(model) as report:
        assert "  packed sequences: two were seen to be kept apart" in str(report)
        packed = logits(model, ids, position_ids=POSITIONS)
        whole = logits(model, ids)
    torch.testing.assert_close(packed, alone, **limit)
    assert (whole[:, FIRST:] - alone[:, FIRST:]).abs().max() > 1e-3
    assert module.create_causal_mask is before


def test_positions_that_a_model_gives_are_left_alone():
    told = masks.told(lambda config, position_ids=None, more=None: (position_ids, more))
    assert told(1, more=2) == (None, 2)
    passing._running.known.append(passing.Known(of_call(dict(position_ids=POSITIONS))))
    try:
        assert torch.equal(told(1)[0], POSITIONS)
        assert told(1, position_ids=3) == (3, None)
        assert told(1, 3) == (3, None)
    finally:
        passing._running.known.pop()
    assert masks.told(told) is told


def test_a_model_that_takes_no_such_positions_is_not_asked():
    model = model_of("mamba")
    forward = model.forward
    model.forward = lambda input_ids=None, cache_params=None, use_cache=None: forward(
        input_ids=input_ids, cache_params=cache_params, use_cache=use_cache
    )
    with accelerated(model) as report:
        assert report
        assert report.packed is None
        assert "packed sequences" not in str(report)


@torch.no_grad()
def test_positions_of_one_row_are_those_of_every_row():
    model, ids = model_of("mamba2"), tokens(B=2)
    with accelerated(model):
        both = logits(model, ids, position_ids=POSITIONS)
        for row in (0, 1):
            one = logits(model, ids[row : row + 1], position_ids=POSITIONS)
            torch.testing.assert_close(both[row : row + 1], one)
