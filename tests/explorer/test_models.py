"""Models of transformers in `trilby.explore`: exact triangles, choices, what stays as it was."""

import copy
import re
import sys
import threading

import pytest
import torch
import transformers
from transformers.models.llama import modeling_llama
from transformers.models.qwen3_next import modeling_qwen3_next

import trilby
from tests.explorer.models import SEEN, built, ids
from trilby.errors import CallError
from trilby.explorer import choosing
from trilby.transformers import accelerated
from trilby.transformers.recording import recorded
from trilby.transformers.triangles import KINDS, triangle, unfolded
from trilby.verify.precision.widened import widened

pytestmark = SEEN
EXACT = 1e-13  # of the largest output; 50 times what was seen
DAILY = ["qwen3_next", "kimi_linear", "mamba", "mamba2", "gemma2", "gpt_oss"]
MORE = [
    "llama", "gpt2", "qwen3", "qwen3_5_text", "qwen4_exp", "olmo_hybrid", "lara_mini", "jamba",
    "bailing_hybrid", "falcon_mamba", "bamba", "falcon_h1", "granitemoehybrid", "nemotron_h",
    "zamba", "zamba2", "lfm2", "lfm3", "inkling_text", "inkling2_text", "opt", "gpt_neox",
    "deepseek_v3", "cohere2", "phi3", "mistral", "gemma3_text", "recurrent_gemma", "minimax",
]  # fmt: skip


@pytest.fixture(scope="module")
def hybrid():
    return built("qwen3_next")


@pytest.mark.parametrize(
    "kind", [*DAILY, *(pytest.param(kind, marks=pytest.mark.long) for kind in MORE)]
)
def test_the_weights_are_exact_for_every_function(kind):
    """In float64 the functions' own outputs come out of the weights to rounding, all heads."""
    model = built(kind, torch.float64)

    def run():
        with widened(model):
            model(input_ids=ids(), use_cache=False)

    calls = [call for call in recorded(model, run).calls if triangle(call)]
    assert calls
    for call in calls:
        found = unfolded(call, list(range(KINDS[call.function].count(call))))
        top = float(found.output.abs().max())
        assert float((found.output - found.explained).abs().max()) <= EXACT * top, call.function
        assert not bool(found.weights.triu(1).any())


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "qwen3_next"])
def test_attention_is_what_transformers_returns(kind):
    """`output_attentions` of the eager function, in a float64 model that is so throughout."""
    model = built(kind, torch.float64, "eager")
    with widened(model), torch.no_grad():
        theirs = model(input_ids=ids(), output_attentions=True, use_cache=False).attentions
        shown = trilby.explore(model, ids())
    soft = [one for one in shown.triangles if one.head.kind == "attention"]
    layers = sorted({one.head.layer for one in soft})
    assert len(layers) == len([each for each in theirs if each is not None])
    known = dict(zip(layers, [each for each in theirs if each is not None], strict=True))
    for one in soft:
        wanted = known[one.head.layer][0, one.head.number].double()
        torch.testing.assert_close(one.weights, wanted, atol=1e-14, rtol=0)


def test_a_layer_is_a_row_of_named_heads(hybrid):
    shown = trilby.explore(hybrid, ids())
    assert shown.ok
    names = [one.name for one in shown.triangles]
    assert names[0] == "layer 0 delta, head 0"
    assert names[-1] == "layer 1 attention, head 3"
    assert shown.python == "trilby.explore(model, x=x, T=21)"
    said = [clause.text for clause in shown.answer]
    assert said[0] == "Qwen3NextForCausalLM on x, T = 21"
    assert re.fullmatch(r"the weights give the output to \de-0[67] of its largest value",
                        re.sub(r"\.\d", "", said[1]))  # fmt: skip
    assert said[2] == "no weight that is shown reads a later position"
    row = shown.row(5, layer=1, head=2)
    assert [*row] == ["layer 1 attention, head 2"]
    assert float(row["layer 1 attention, head 2"].sum()) == pytest.approx(1)
    assert len(shown.row(5, layer=0)) == 8
    with pytest.raises(CallError, match=r"explore\(model, layer=1, head=9\) shows it"):
        shown.row(5, layer=1, head=9)
    facts = shown.triangles[0].fact
    assert "The exact weights of model.layers.0.linear_attn" in facts
    assert "They give what chunk_gated_delta_rule gave to " in facts


def test_layers_heads_and_channels_are_chosen():
    model = built("mamba")
    shown = trilby.explore(model, ids(), layer=1, head=[40, 3])
    assert [one.name for one in shown.triangles] == [
        "layer 1 mamba, channel 3", "layer 1 mamba, channel 40",
    ]  # fmt: skip
    assert "2 of 128 channels in 1 of 2 layers are shown" in shown.answer[-1].text
    whole = trilby.explore(model, ids(), layer=1).triangles
    assert len(whole) == 64
    assert torch.equal(whole[40].weights, shown.triangles[1].weights)
    automatic = trilby.explore(model, ids()).triangles
    assert len(automatic) == 2 * choosing.EACH


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_is_explained_to_its_rounding(dtype):
    shown = trilby.explore(built("qwen3_next", dtype), ids())
    assert shown.ok
    assert max(one.far for one in shown.triangles) > torch.finfo(dtype).eps / 100


@pytest.mark.parametrize("kind", ["gemma2", "llama", "gpt_oss"])
def test_our_own_attention_function_is_heard_too(kind):
    shown = trilby.explore(built(kind, attention="trilby"), ids())
    assert shown.ok
    plain = trilby.explore(built(kind, attention="eager"), ids())
    for one, two in zip(shown.triangles, plain.triangles, strict=True):
        torch.testing.assert_close(one.weights, two.weights, atol=1e-5, rtol=1e-4)


def test_scans_of_one_layer_are_counted_on():
    """zamba scans its channels in two calls; the second one begins at channel 32."""
    model = built("zamba")
    shown = trilby.explore(model, ids(), layer=0, head=[31, 32, 33])
    assert [one.head.number for one in shown.triangles] == [31, 32, 33]
    assert {one.head.of for one in shown.triangles} == {64}
    assert shown.ok


class Twice(transformers.LlamaForCausalLM):
    """A second stack of layers behind the first, and one over every other position."""

    def __init__(self, config):
        super().__init__(config)
        self.more = transformers.LlamaModel(config)
        self.fewer = transformers.LlamaModel(config)

    def forward(self, input_ids, **how):
        self.fewer(input_ids[:, ::2], **how)
        return self.more(inputs_embeds=self.model(input_ids, **how).last_hidden_state, **how)


def test_two_stacks_of_layers_are_told_apart():
    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=64,
    )  # fmt: skip
    shown = trilby.explore(Twice(config).eval(), ids())
    assert [one.name for one in shown.triangles[::2]] == [
        "layer 0 attention (model.layers.0.self_attn), head 0",
        "layer 0 attention (more.layers.0.self_attn), head 0",
    ]  # fmt: skip
    assert shown.ok
    beside = trilby.explore(built("inkling2_text"), ids())
    assert beside.ok
    assert len({one.name for one in beside.triangles}) == len(beside.triangles)


def test_only_what_fits_is_made(monkeypatch, hybrid):
    monkeypatch.setattr(choosing, "WHOLE", 6 * 21 * 11)
    shown = trilby.explore(hybrid, ids())
    assert [one.head[:1] + one.head[3:4] for one in shown.triangles] == [
        (layer, head) for layer in (0, 1) for head in range(3)
    ]
    assert "6 of 12 heads in 2 of 2 layers are shown: layer= and head=" in shown.answer[-1].text
    monkeypatch.setattr(choosing, "MOST", 1)
    assert [one.head.layer for one in trilby.explore(hybrid, ids()).triangles] == [0]
    with pytest.raises(CallError, match=r"2 heads are asked for, .* at most 1 are shown"):
        trilby.explore(hybrid, ids(), head=0)


def halved(function):
    def called(*args, **kwargs):
        output, weights = function(*args, **kwargs)
        return output / 2, weights

    return called


def test_a_function_that_does_something_else_is_said(monkeypatch):
    """Attention that halves its output: the weights that we know are not what it did."""
    model = built("llama", attention="eager")
    eager = modeling_llama.eager_attention_forward
    monkeypatch.setattr(modeling_llama, "eager_attention_forward", halved(eager))
    shown = trilby.explore(model, ids())
    assert not shown.ok
    assert "which is no rounding" in shown.answer[0].text


def test_a_mask_that_shows_the_future_is_a_leak(capsys):
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        vocab_size=64,
    )  # fmt: skip
    model = transformers.BertModel(config).eval()
    shown = trilby.explore(model, ids())
    assert not shown.ok
    assert shown.answer[0].text == "BertModel leaks: y[0] reads x[1]"
    assert [leak.subject for leak in shown.subjects[0].leaks] == [
        "layer 0 attention, head 0", "layer 1 attention, head 0",
    ]  # fmt: skip
    leak = shown.subjects[0].leaks[0]
    assert leak.name == "without a causal mask: every position reads every later one"
    assert leak.group == "no causal mask"
    exec(leak.reproducer, {"model": model, "x": ids()})
    assert float(re.search(r"tensor\(([\d.]+)", capsys.readouterr().out)[1]) == pytest.approx(
        leak.size, abs=1e-4
    )


def everything(model):
    """All that a recording touches."""
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._forward_hooks_always_called))
        for m in model.modules()
    ]
    names = ("torch_chunk_gated_delta_rule", "ALL_ATTENTION_FUNCTIONS", "eager_attention_forward")
    places = [getattr(modeling_qwen3_next, name) for name in names]
    return (
        hooks, places, [m.training for m in model.modules()],
        [(p.requires_grad, p.grad is None) for p in model.parameters()],
        model.config.to_dict(), {n: [*vars(m)] for n, m in model.named_modules()},
        torch.is_grad_enabled(), torch.get_rng_state().tolist(),
    )  # fmt: skip


def draws(*_):
    """A hook of the user, which draws a random number."""
    torch.rand(1)


class Stopped(BaseException):
    """As an interruption from the keyboard, which is no Exception."""


@pytest.mark.parametrize("raised", [None, ValueError("no"), Stopped()])
def test_the_model_is_as_it_was(raised, hybrid, monkeypatch):
    model = copy.deepcopy(hybrid).train()
    model.model.layers[0].eval()
    model.register_forward_pre_hook(draws)
    before = everything(model)
    if raised is not None:

        def broken(*_, **__):
            raise raised

        attention = type(model.model.layers[1].self_attn)
        monkeypatch.setattr(attention, "forward", broken)
        expected = CallError if isinstance(raised, Exception) else Stopped
        with pytest.raises(expected):
            trilby.explore(model, ids())
    else:
        assert trilby.explore(model, ids()).ok
    assert everything(model) == before


def test_another_thread_is_not_heard(hybrid):
    other = copy.deepcopy(hybrid)

    def run():
        thread = threading.Thread(target=lambda: other(input_ids=ids(7)))
        thread.start()
        thread.join()
        hybrid(input_ids=ids(), use_cache=False)

    assert {call.output.shape[1] for call in recorded(hybrid, run).calls
            if call.function == "attention"} == {21}  # fmt: skip


def test_an_accelerated_model_is_seen_as_it_runs():
    model = built("qwen3_next")
    plain = trilby.explore(model, ids())
    with accelerated(model):
        ours = trilby.explore(model, ids())
        held = modeling_qwen3_next.torch_chunk_gated_delta_rule
        assert held.__wrapped__.__module__.startswith("trilby")
    assert ours.ok
    for one, two in zip(plain.triangles, ours.triangles, strict=True):
        torch.testing.assert_close(one.weights, two.weights, atol=1e-5, rtol=1e-4)


def test_a_compiled_model_runs_as_it_is_written():
    model, graphs = built("llama"), []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    model.compile(backend=backend)
    with torch.no_grad():
        model(input_ids=ids(), use_cache=False)
    count = len(graphs)
    assert count
    assert trilby.explore(model, ids()).ok
    assert len(graphs) == count


def test_what_is_not_known_is_named_and_can_be_measured(monkeypatch):
    model = built("bloom", torch.float64)
    with pytest.raises(CallError, match=r"no layer of BloomForCausalLM \(BloomBlock\)") as caught:
        trilby.explore(model, ids(6))
    names = {"trilby": trilby, "model": model, "ids": ids(6)}
    call = str(caught.value).partition("measured: ")[2]
    shown = eval(call, names)
    assert shown.ok
    assert shown.triangles[0].measured
    mixed = trilby.explore(built("recurrent_gemma"), ids())
    assert "2 of 3 layers call no function that is known, so" in mixed.answer[-1].text
    monkeypatch.setattr(sys.modules["transformers"], "__version__", "5.12.1")
    with pytest.raises(CallError, match=r"in transformers 5\.12\.1, where recurrent layers need"):
        trilby.explore(model, ids(6))
