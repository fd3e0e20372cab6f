"""The adapter for transformers: models are small, have all kinds of layers, are judged right."""

import warnings

import pytest
import torch

from trilby.audit.adapter import Built, NotBuilt, tokens
from trilby.audit.causal_lm import Uncounted
from trilby.audit.judge import LAWS, judge
from trilby.audit.known import limits
from trilby.audit.probes import attention, continues, generates, noise
from trilby.audit.shrink import kinds_kept, small
from trilby.verify import Verdict, check
from trilby.verify.comparing.witness import Witness

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
    from trilby.audit.transformers import ADAPTER, config_of, make

pytestmark = pytest.mark.filterwarnings("ignore")


def judged(kind):
    """law -> verdict of one type, in this process."""
    told = {}
    threads = torch.get_num_threads()
    try:
        judge(ADAPTER, kind, "quick", 60, lambda what, it: told.setdefault(what, []).append(it))
    finally:
        torch.set_num_threads(threads)
    return {v["law"]: v for v in told["verdict"]}


def broken(verdicts):
    return {law for law, v in verdicts.items() if v["outcome"] == "broken" and not v["limit"]}


def test_a_hybrid_keeps_both_kinds_and_a_window_is_exceeded():
    hybrid = ADAPTER.build("qwen3_next", torch.float64)
    assert hybrid.facts["layers"] == ["linear_attention", "full_attention"]
    windowed = ADAPTER.build("gemma3_text", torch.float64)
    assert windowed.facts["layers"] == ["sliding_attention", "full_attention"]
    assert windowed.module.model.config.sliding_window == 4
    assert hybrid.facts["parameters"] < 10**6


def test_layers_are_kept_by_kind_and_lists_follow():
    default = dict(
        num_hidden_layers=6, layer_types=list("aabaab"), mlp_only_layers=[0, 3], hidden_size=4096
    )
    assert kinds_kept(default) == [0, 1, 2]
    less = small(default, {})
    assert less["layer_types"] == ["a", "a", "b"]
    assert (less["num_hidden_layers"], less["mlp_only_layers"]) == (3, [0])


def test_special_tokens_stand_above_those_that_are_drawn():
    less = small(dict(vocab_size=50000, pad_token_id=0, eos_token_id=[7, 8]), {})
    assert less == dict(vocab_size=96, pad_token_id=95, eos_token_id=94)


@pytest.mark.parametrize("kind", ["kimi_linear", "bailing_hybrid", "qwen3_moe", "mellum"])
def test_what_a_configuration_calls_otherwise_is_small_too(kind):
    """Each is given a number of experts under one name, and shows it under another."""
    config = config_of(kind, {})
    experts = {config.num_local_experts, config.num_experts}
    assert experts == {4}
    assert config.num_experts_per_tok == 2


def test_most_types_are_there():
    assert len(ADAPTER.kinds()) >= 130
    with pytest.raises(NotBuilt, match="draft head"):
        ADAPTER.build("gemma4_assistant", torch.float64)


@pytest.mark.slow
def test_a_right_type_is_not_blamed():
    verdicts = judged("gpt2")
    assert broken(verdicts) == set()
    ran = {law for law, v in verdicts.items() if v["outcome"] != "not run"}
    assert {*LAWS, "generates", "continues", "attention"} <= ran


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "outcome"), [("llama", "holds"), ("granitemoehybrid", "holds"), ("mamba", "broken")]
)
def test_mamba_forgets_its_state_in_a_cached_call_of_more_than_one_token(kind, outcome):
    built = ADAPTER.build(kind, torch.float64)
    (found,) = check(built.module, built.example, laws=["resumes"], effort="quick", **built.how)
    assert found.outcome == outcome
    assert continues(built).outcome == outcome


def test_generate_that_counts_otherwise_is_found():
    verdict = generates(ADAPTER.build("roberta", torch.float64))
    assert (verdict.outcome, verdict.kind) == ("broken", "generate differs")
    assert verdict.error > 1
    assert generates(ADAPTER.build("gpt2", torch.float64)).ok


def test_two_ways_that_differ_are_found():
    same = ADAPTER.build("llama", torch.float64)
    assert attention(same).ok
    other = Uncounted(make("llama", torch.float64))
    with torch.no_grad():
        next(other.parameters()).mul_(1.01)
    ways = {"eager": same.ways["eager"], "other": lambda: other}
    verdict = attention(Built("llama", same.module, tokens(64), {}, {}, ways=ways))
    assert (verdict.outcome, verdict.kind) == ("broken", "implementations differ")


def test_a_float64_model_is_float64_throughout():
    narrow = make("gemma2", torch.float64)  # its norms and its softmax compute in float32
    ids = tokens(64)(1, 12, 0)["input_ids"]
    with torch.no_grad():
        plain = narrow(ids).logits
        wide = Uncounted(narrow)(ids).logits
        again = Uncounted(narrow)(ids[:, :7]).logits
    assert (again - wide[:, :7]).abs().max() < 1e-12
    assert (wide - plain).abs().max() > 1e-9
    assert torch.get_default_dtype() == torch.float32
    one = make("gemma2", torch.float32)
    assert Uncounted(one)(ids).logits.dtype == torch.float32


def test_the_noise_is_that_of_float32():
    linear = torch.nn.Linear(8, 8, bias=False).double()
    x = torch.ones(1, 8, dtype=torch.float64)
    found = noise(linear, lambda: linear(x).detach())
    assert 0 < found <= 2.0**-24 * float(linear.weight.detach().abs().sum(1).max())


def test_a_limitation_is_told_by_law_and_place():
    left = Verdict("bart", "padding", "broken", witness=Witness(side="left"))
    right = Verdict("bart", "padding", "broken", witness=Witness(side="right"))
    limit = limits("bart", {"input_ids"}, [])
    assert "position_ids" in limit(left)
    assert limit(right) == ""
    assert limits("gpt2", {"position_ids"}, [])(left) == ""


def test_a_call_that_goes_on_is_handed_the_whole_where_the_type_wants_it():
    built = ADAPTER.build("xlm", torch.float64)
    assert built.module.whole
    (found,) = check(built.module, built.example, laws=["resumes"], effort="quick", **built.how)
    assert found.ok, found.sentence
    assert not ADAPTER.build("gpt2", torch.float64).module.whole


def test_no_token_that_is_drawn_is_padding():
    example = ADAPTER.build("prophetnet", torch.float64).example
    assert example(8, 64, 0)["input_ids"].min() == 1
    assert ADAPTER.build("gpt2", torch.float64).example(8, 64, 0)["input_ids"].min() == 0
