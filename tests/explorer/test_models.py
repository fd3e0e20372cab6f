"""Models of transformers in `trilby.explore`: exact triangles, choices, what stays as it was."""

import copy
import re
import sys
import threading

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.llama import modeling_llama
from transformers.models.qwen3_next import modeling_qwen3_next

import trilby
from trilby.audit.transformers import make
from trilby.cli import main
from trilby.errors import CallError, FileError, NumberError
from trilby.explorer import choosing
from trilby.transformers import accelerated
from trilby.transformers.recording import recorded
from trilby.transformers.seam import FIRST
from trilby.transformers.triangles import KINDS, triangle, unfolded
from trilby.verify.precision.widened import widened

RELEASE = tuple(int(part) for part in transformers.__version__.split(".")[:2])
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(RELEASE < FIRST, reason="this release has no functions that can be seen"),
]
EXACT = 1e-13  # of the largest output; 50 times what was seen
DAILY = ["qwen3_next", "kimi_linear", "mamba", "mamba2", "gemma2", "gpt_oss"]
MORE = [
    "llama", "gpt2", "qwen3", "qwen3_5_text", "qwen4_exp", "olmo_hybrid", "lara_mini", "jamba",
    "bailing_hybrid", "falcon_mamba", "bamba", "falcon_h1", "granitemoehybrid", "nemotron_h",
    "zamba", "zamba2", "lfm2", "lfm3", "inkling_text", "inkling2_text", "opt", "gpt_neox",
    "deepseek_v3", "cohere2", "phi3", "mistral", "gemma3_text", "recurrent_gemma", "minimax",
]  # fmt: skip


def ids(T=21):
    return torch.randint(5, 60, (1, T), generator=torch.Generator().manual_seed(1))


def built(kind, dtype=torch.float32, attention=None):
    if kind not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this release of transformers has no {kind}")
    return make(kind, dtype, attention).eval()


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


def test_a_mask_that_shows_the_future_is_a_leak():
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        vocab_size=64,
    )  # fmt: skip
    shown = trilby.explore(transformers.BertModel(config).eval(), ids())
    assert not shown.ok
    assert shown.answer[0].text == "BertModel leaks: y[0] reads x[1]"
    assert [leak.subject for leak in shown.subjects[0].leaks] == [
        "layer 0 attention, head 0", "layer 1 attention, head 0",
    ]  # fmt: skip
    assert "a statistic over the whole time" in shown.subjects[0].leaks[0].name


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


@pytest.fixture(scope="module")
def folder(hybrid, tmp_path_factory):
    """A checkpoint with a tokenizer of letters."""
    path = tmp_path_factory.mktemp("model")
    hybrid.save_pretrained(path)
    letters = sorted(set(trilby.data.sonnets()))[: hybrid.config.vocab_size - 1]
    table = {letter: i + 1 for i, letter in enumerate(letters)} | {"?": 0}
    words = Tokenizer(models.WordLevel(table, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    words.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?").save_pretrained(path)
    return path


def test_a_folder_reads_text(folder, hybrid):
    shown = trilby.explore(folder, T=12)
    assert "".join(shown.where.tokens) == "From fairest"
    assert shown.answer[0].text == "Qwen3NextForCausalLM on 'sonnets', T = 12"
    own = trilby.explore(str(folder), "to be or")
    assert own.python == f"trilby.explore({str(folder)!r}, x='to be or', T=8)"
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder)
    again = trilby.explore(loaded, "to be or")  # its folder is remembered
    assert torch.equal(again.triangles[0].weights, own.triangles[0].weights)
    named = trilby.explore(hybrid, ids(3), tokens=["a", "b", "c"])
    assert named.where.tokens == ("a", "b", "c")
    assert trilby.explore(hybrid, T=5).answer[0].text == "Qwen3NextForCausalLM on drawn ids, T = 5"


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda m: trilby.explore("no/such/folder"), FileError, "no/such/folder is not a folder"),
        (lambda m: trilby.explore([m, "mean"], ids()), CallError, "one of 2; give a model alone"),
        (lambda m: trilby.explore("mean", layer=1), CallError, "parts of a model of transformers"),
        (lambda m: trilby.explore(m, torch.ones(1, 5, 2)), CallError, "one row of ids [1, T]"),
        (lambda m: trilby.explore(m, "some text"), CallError, "has no tokenizer beside it"),
        (lambda m: trilby.explore(m, "nile"), CallError, "a model reads a text or ids"),
        (lambda m: trilby.explore(m, tokens="ab"), CallError, "tokens name the ids of x"),
        (lambda m: trilby.explore(m, ids(), tokens="ab"), CallError, "tokens are 2 and x has T=21"),
        (lambda m: trilby.explore(m, torch.tensor([[1, 10**6]])), NumberError,
         "x[0, 1] is 1000000, and the vocabulary"),
        (lambda m: trilby.explore(m, ids(5000)), NumberError, "5000 x 5000 weights take 0.2 GB"),
        (lambda m: trilby.explore(m, ids(), T=0), CallError, "T is 0"),
        (lambda m: trilby.explore(m, ids(), layer=7), CallError,
         "layer is 7, and the layers that can be shown are 0 to 1"),
        (lambda m: trilby.explore(m, ids(), head=99), CallError,
         "head is 99, and heads are numbered from 0; there are attention 4, delta 8"),
        (lambda m: trilby.explore(m, ids(), layer="1"), CallError, "layer is '1', expected a num"),
        (lambda m: trilby.explore(m, ids(), head=[]), CallError, "head is empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(call, error, said, hybrid):
    with pytest.raises(error, match=re.escape(said)) as caught:
        call(hybrid)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("explore: ")


def test_other_models_are_refused_in_a_line(tmp_path):
    small = dict(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=64)
    with pytest.raises(CallError, match="reads what an encoder leaves"):
        trilby.explore(transformers.T5ForConditionalGeneration(transformers.T5Config(**small)))
    config = transformers.GPT2Config(n_positions=8, n_embd=16, n_layer=1, n_head=2, vocab_size=64)
    with pytest.raises(CallError, match=r"it raises IndexError.*; its configuration has 8 pos"):
        trilby.explore(transformers.GPT2LMHeadModel(config), ids())
    with pytest.raises(FileError, match="cannot be loaded, it raises") as caught:
        trilby.explore(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_command(folder, tmp_path, capsys, monkeypatch):
    page = tmp_path / "page.html"
    call = ["explore", str(folder), "--text", "to be or not", "--layer", "1", "-o", str(page)]
    assert main(call) == 0
    assert "4 of 12 heads in 1 of 2 layers are shown" in capsys.readouterr().err
    assert page.read_text().startswith("<!doctype html>")
    assert main(["explore", str(folder), "-T", "12", "--layer", "0", "--head", "2"]) == 0
    out = capsys.readouterr().out
    assert "layer 0 delta, head 2: 11 " in " ".join(out.split())
    monkeypatch.setenv("COLUMNS", "50")
    assert main(["explore", f"hf:{folder}", "-T", "20", "--head", "0"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.split("  ")[0] == "layer 0 delta, head 0"
    assert first.endswith("1 attention, head 0")
    assert second.split() == ["cell", "=", "3x3,", "max"] * 2
    assert main(["explore", str(folder), "--head", "77"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["explore", str(folder), "--text", "a", "--data", "nile"]) == 2
