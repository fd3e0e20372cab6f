"""`accelerate`, `accelerated`, `restore`: what is replaced, what is put back, what is said."""

import copy
import gc
import threading

import pytest
import torch
from transformers.models.qwen3_next import modeling_qwen3_next as module

from tests.acceleration.models import T, logits, model_of, runs, tokens
from trilby.errors import CallError
from trilby.transformers import accelerate, accelerated, hub, restore, seam

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
POSITIONS = torch.cat([torch.arange(8), torch.arange(T - 8)])[None]


@pytest.fixture
def model():
    made = model_of("qwen3_next")
    yield made
    if made._forward_pre_hooks:
        restore(made)


def test_the_report_says_which_layers_run_what(model):
    report = accelerate(model)
    assert report
    assert {layer.kind for layer in report.layers} == {"Qwen3NextGatedDeltaNet"}
    head, count, *lines = str(report).splitlines()
    n = len(report.layers)
    assert head == f"Qwen3NextForCausalLM: {n} of {n} layers were seen to call trilby"
    assert count == f"  {n} Qwen3NextGatedDeltaNet"
    assert "    chunk_gated_delta_rule  trilby, seen to be called" in lines


def test_what_was_not_seen_is_said():
    with accelerated(model_of("mamba2")) as report:
        assert "    mamba_split_conv1d_scan_combined  trilby, not seen yet" in str(report)
    report = accelerate(model_of("llama"))
    assert not report
    assert str(report).startswith("LlamaForCausalLM: nothing is replaced. None of its layers")


def test_the_originals_come_back_with_the_last_model(model):
    before = runs(module.torch_chunk_gated_delta_rule)
    other = model_of("qwen3_next")
    accelerate(model)
    accelerate(model)
    accelerate(other)
    ours = runs(module.torch_chunk_gated_delta_rule)
    assert ours is not before
    restore(model)
    assert runs(module.torch_chunk_gated_delta_rule) is not before
    restore(other)
    assert runs(module.torch_chunk_gated_delta_rule) is before
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


def test_an_exception_puts_them_back(model):
    before = runs(module.torch_chunk_gated_delta_rule)
    with pytest.raises(KeyError), accelerated(model):
        raise KeyError
    assert runs(module.torch_chunk_gated_delta_rule) is before


def test_a_saved_model_is_as_others(tmp_path):
    model = model_of("mamba2")
    wanted = logits(model, tokens())
    names = set(model.state_dict())
    with accelerated(model):
        model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, dtype=torch.float64).eval()
    assert set(again.state_dict()) == names
    torch.testing.assert_close(logits(again, tokens()), wanted)


def _copied(model, _):
    return copy.deepcopy(model)


def _unpickled(model, path):
    torch.save(model, path / "model.pt")
    return torch.load(path / "model.pt", weights_only=False)


NO_PICKLE = pytest.mark.skipif(
    hub.takes(module.torch_chunk_gated_delta_rule), reason="objects of `kernels` have no pickle"
)


@pytest.mark.parametrize("way", [_copied, pytest.param(_unpickled, marks=NO_PICKLE)])
def test_a_copy_stays_accelerated_when_the_original_is_restored(way, tmp_path):
    before = runs(module.torch_chunk_gated_delta_rule)
    model = model_of("qwen3_next")
    accelerate(model)
    packed = logits(model, tokens(), position_ids=POSITIONS)
    other = way(model, tmp_path)
    restore(model)
    assert runs(module.torch_chunk_gated_delta_rule) is not before
    assert torch.equal(logits(other, tokens(), position_ids=POSITIONS), packed)
    assert accelerate(other)
    restore(other)
    assert runs(module.torch_chunk_gated_delta_rule) is before


def test_a_model_that_is_gone_needs_nothing():
    before = runs(module.torch_chunk_gated_delta_rule)
    model = model_of("qwen3_next")
    accelerate(model)
    del model
    gc.collect()
    assert runs(module.torch_chunk_gated_delta_rule) is before


def test_the_same_text_is_generated(model):
    how = dict(max_new_tokens=6, do_sample=False, pad_token_id=0)
    wanted = model.generate(tokens(B=2), **how)
    with accelerated(model):
        assert torch.equal(model.generate(tokens(B=2), **how), wanted)


def test_threads_do_not_see_each_other_s_packing(model):
    accelerate(model)
    with torch.no_grad():
        plain, packed = logits(model, tokens()), logits(model, tokens(), position_ids=POSITIONS)
        wrong = []

        def work(wanted, how):
            with torch.no_grad():
                for _ in range(5):
                    if not torch.equal(logits(model, tokens(), **how), wanted):
                        wrong.append(how)

        ways = ((plain, {}), (packed, dict(position_ids=POSITIONS)))
        crowd = [threading.Thread(target=work, args=way) for way in ways]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join(60)
    assert wrong == []


def test_wrong_input_is_one_line(model, monkeypatch):
    with pytest.raises(CallError, match=r"^accelerate: model is str, expected a model of trans"):
        accelerate("qwen3_next")
    with pytest.raises(CallError, match=r"^restore: this model is not accelerated; accelerate"):
        restore(model)
    monkeypatch.setattr("transformers.__version__", "5.10.4")
    with pytest.raises(CallError, match=r"5\.10\.4, whose functions cannot be replaced; 5.16 is"):
        accelerate(model)


def test_a_model_that_cannot_be_called_is_not_proven(model):
    model.lm_head.forward = lambda *_: 1 / 0
    report = accelerate(model)
    assert "A call of two tokens raised ZeroDivisionError" in str(report)
    assert report  # its layers had been called by then


def test_every_function_of_the_seam_is_ours():
    from trilby.transformers.functions import OURS

    names = set(seam.places(module).values())
    assert names == {
        "causal_conv1d_fn", "causal_conv1d_update", "chunk_gated_delta_rule",
        "fused_recurrent_gated_delta_rule",
    }  # fmt: skip
    assert len(OURS) == 11
