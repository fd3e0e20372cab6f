"""What a model reads in `trilby.explore`: texts, ids, folders, and what is wrong with them."""

import re

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import trilby
from tests.explorer.models import SEEN, built, ids
from trilby.cli import main
from trilby.errors import CallError, FileError, NumberError

pytestmark = SEEN


@pytest.fixture(scope="module")
def hybrid():
    return built("qwen3_next")


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
        (lambda m: trilby.explore(m, ids(), bench=True), CallError, "ForCausalLM is a model; drop"),
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
