"""Gradient checkpointing: a block is computed again on the way back, and needs borders again."""

import pytest
import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from tests.acceleration.models import T, logits, model_of, tokens
from trilby.errors import CallError
from trilby.transformers import accelerated

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
POSITIONS = torch.cat([torch.arange(8), torch.arange(T - 8)])[None]
LONG = pytest.mark.long
KINDS = ["mamba", *(pytest.param(kind, marks=LONG) for kind in ("qwen3_next", "mamba2", "jamba"))]


def _gradients(made, positions=POSITIONS):
    made.zero_grad()
    logits(made, tokens(), position_ids=positions).pow(2).sum().backward()
    return {n: p.grad.clone() for n, p in made.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_packed_sequences_are_the_plain_ones(kind, reentrant):
    made = model_of(kind).train()
    with accelerated(made):
        plain = _gradients(made)
        made.gradient_checkpointing_enable(dict(use_reentrant=reentrant))
        if reentrant:
            made.enable_input_require_grads()
        again = _gradients(made)
        assert any(not torch.allclose(g, plain[n]) for n, g in _gradients(made, None).items())
    assert again.keys() == plain.keys()
    for name, slope in plain.items():
        torch.testing.assert_close(again[name], slope, msg=name)
    assert "Bordered" not in str([vars(module) for module in made.modules()])


def test_blocks_in_a_wrapper_of_torch_work_where_they_were_wrapped_first():
    """Their hooks run again, and those of the model around them do not."""
    made = model_of("mamba").train()
    layers = made.backbone.layers
    with accelerated(made):
        plain = _gradients(made)
        layers[0] = checkpoint_wrapper(layers[0])
        _gradients(made, None)
        with pytest.raises(CallError, match=r"^MambaBlock: packed sequences were computed again"):
            _gradients(made)
        _gradients(made, None)
    with accelerated(made):
        again = _gradients(made)
    for one, other in zip(again.values(), plain.values(), strict=True):
        torch.testing.assert_close(one, other)
