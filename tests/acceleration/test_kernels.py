"""The package `kernels`: where it is installed, ours are put in by it, and taken out again."""

import pytest
import torch

from tests.acceleration.models import logits, model_of, tokens
from trilby.transformers import accelerate, accelerated, hub, restore

pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("transformers")
module = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")
chunked = module.torch_chunk_gated_delta_rule
if not hub.takes(chunked):
    pytest.skip("transformers does not use the package kernels here", allow_module_level=True)


def test_the_function_of_kernels_stays_and_its_forward_is_ours():
    model, other = model_of("qwen3_next"), model_of("qwen3_next")
    before = logits(model, tokens())
    with accelerated(model) as report:
        assert "    chunk_gated_delta_rule  trilby, seen to be called" in str(report)
        assert module.torch_chunk_gated_delta_rule is chunked
        assert "forward" in vars(chunked)
        accelerate(other)
        torch.testing.assert_close(logits(model, tokens()), before, rtol=1e-5, atol=1e-5)
    assert "forward" in vars(chunked)
    restore(other)
    assert "forward" not in vars(chunked)
    assert torch.equal(logits(model, tokens()), before)


def test_a_model_that_is_kernelized_again_keeps_ours():
    """transformers does so at each change between training and evaluation with use_kernels."""
    from transformers.integrations.hub_kernels import kernelize

    model = model_of("qwen3_next")
    with accelerated(model):
        ours = chunked.forward.__func__
        kernelize(model)
        assert chunked.forward.__func__ is ours
    kernelize(model)
    assert chunked.forward.__func__ is type(chunked).forward


def test_what_stood_there_comes_back(monkeypatch):
    mine = lambda *args, **kwargs: None
    monkeypatch.setitem(vars(chunked), "forward", mine)
    with accelerated(model_of("qwen3_next")) as report:
        assert report
        assert chunked.forward is not mine
    assert chunked.forward is mine


def test_a_failure_of_kernels_is_in_the_report(monkeypatch):
    """With DISABLE_KERNEL_MAPPING=1 the package puts nothing in, and says nothing."""
    monkeypatch.setattr("kernels.layer.layer._DISABLE_KERNEL_MAPPING", True)
    with accelerated(model_of("qwen3_next")) as report:
        assert not report
        assert "chunk_gated_delta_rule  trilby, not seen yet" in str(report)
