"""Text models that `AutoModelForCausalLM` does not build."""

import copy

import pytest
import torch

from tests.acceleration.models import T, tokens
from trilby.audit.adapter import redraw
from trilby.audit.transformers import config_of
from trilby.transformers import accelerated, seam
from trilby.transformers.packed import cache_of

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]
SIZES = {"glm5_next_text": dict(index_kpool=2, index_topk=4, linear_num_heads=4, linear_head_dim=8)}


@pytest.mark.parametrize("kind", SIZES)
def test_hidden_states_and_gradients_are_those_of_the_original(kind):
    if kind not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this release of transformers has no {kind}")
    config = config_of(kind, dict(config=SIZES[kind]))
    model = transformers.AutoModel.from_config(config, dtype=torch.float32).eval()
    redraw(model)
    ids = tokens(B=2)
    run = lambda x, **how: model(input_ids=x, use_cache=False, **how).last_hidden_state

    def gradients():
        model.zero_grad()
        run(ids).pow(2).sum().backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    before, slopes = run(ids), gradients()
    with accelerated(model) as report:
        assert {"chunk_kda", "causal_conv1d_fn"} <= {n for x in report.layers for n in x.seen}
        assert str(report).endswith("two were seen to be mixed, by layers that are not trilby's")
        torch.testing.assert_close(run(ids), before, rtol=1e-4, atol=1e-4)
        for name, slope in gradients().items():
            limit = 1e-3 * float(slopes[name].abs().max()) + 1e-4
            torch.testing.assert_close(slope, slopes[name], rtol=0, atol=limit, msg=name)


FULL, INDEXED = "full_attention", "indexed_attention"
ALONE = {  # models of attention layers alone, without any function that could be replaced
    "granitemoehybrid": dict(layer_types=[FULL, FULL]),
    "bamba": dict(attn_layer_indices=[0, 1]),
    "glm5_next_text": SIZES["glm5_next_text"] | dict(layer_types=[INDEXED] * 3),
}


def attention_alone(kind):
    """A text model of attention layers, as transformers has it."""
    if kind not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this release of transformers has no {kind}")
    config = config_of(kind, dict(config=ALONE[kind]))
    config._experts_implementation = "eager"  # grouped kernels have no float64
    model = transformers.AutoModel.from_config(config, dtype=torch.float64).double().eval()
    redraw(model)
    assert not [*seam.calling(model)]
    return model


@torch.no_grad()
@pytest.mark.parametrize("kind", ["granitemoehybrid", "glm5_next_text"])
def test_the_attention_of_these_reads_across_packed_sequences_without_us(kind):
    model, ids, first = attention_alone(kind), tokens(), 8
    run = lambda x, **how: model(input_ids=x, use_cache=False, **how).last_hidden_state
    positions = torch.cat([torch.arange(first), torch.arange(T - first)])[None]
    assert torch.equal(run(ids, position_ids=positions), run(ids))


@torch.no_grad()
def test_the_attention_of_bamba_counts_from_0_in_a_cached_call_without_us():
    model, ids = attention_alone("bamba"), tokens()
    whole = model(input_ids=ids, use_cache=False).last_hidden_state
    begin = model(input_ids=ids[:, :9], use_cache=True)
    past = cache_of(model, begin)
    positions = torch.arange(9, T)[None]
    counted, plain = (
        model(input_ids=ids[:, 9:], use_cache=True, **copy.deepcopy(past), **how).last_hidden_state
        for how in (dict(position_ids=positions), {})
    )
    torch.testing.assert_close(counted, whole[:, 9:])
    assert (plain - whole[:, 9:]).abs().max() > 0.1
