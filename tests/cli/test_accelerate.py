"""`trilby accelerate MODEL_DIR`: both side by side, and one line where something is wrong."""

import json

import pytest

pytest.importorskip("transformers")

from tests.cli.checkpoints import checkpoint
from tests.cli.refusing import refused

from trilby.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")
FEW = ["--new", "4", "--rounds", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint("qwen3_next", tmp_path_factory.mktemp("model") / "hybrid", tokenizer=True)


@pytest.fixture(autouse=True)
def _as_before():
    """The command runs in a process of its own; here it must not change what others see."""
    from transformers import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    yield
    logging.set_verbosity(level)
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()


def test_a_prompt_is_continued_by_both(folder, capsys):
    assert main(["accelerate", str(folder), "--prompt", "the cat sat on", *FEW]) == 0
    out = capsys.readouterr().out
    assert "layers were seen to call trilby" in out
    assert "    chunk_gated_delta_rule  trilby, seen to be called" in out
    words = [row.split() for row in out.splitlines()]
    assert ["original", "trilby", "times"] in words
    for what in ("prompt tokens per second", "new tokens per second", "peak memory, MiB"):
        assert any(what.split() == row[: len(what.split())] for row in words), out
    assert "the same text, 4 tokens" in out


def test_the_text_is_that_of_transformers(folder, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert main(["accelerate", str(folder), "--prompt", "the cat sat on", "--json", *FEW]) == 0
    found = json.loads(capsys.readouterr().out)
    words = AutoTokenizer.from_pretrained(folder)
    prompt = words("the cat sat on", return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(folder)
    wanted = model.generate(**prompt, max_new_tokens=4, do_sample=False, pad_token_id=1)
    assert found["tokens"]["original"] == found["tokens"]["trilby"] == wanted[0, 4:].tolist()
    assert found["text"]["trilby"] == words.decode(wanted[0, 4:])


def test_another_text_is_exit_code_1(folder, capsys, monkeypatch):
    from trilby.cli import beside

    write = beside._write

    def wrong(model, prompt, new):
        tokens = write(model, prompt, new)
        return tokens if not model._forward_pre_hooks else [*tokens[:2], 7, 7]

    monkeypatch.setattr(beside, "_write", wrong)
    assert main(["accelerate", str(folder), "--tokens", "2,3", *FEW]) == 1
    out = capsys.readouterr().out
    assert "another text from new token 3 on" in out
    assert "original: " in out


def test_what_was_not_seen_is_exit_code_1(folder, capsys, monkeypatch):
    monkeypatch.setattr("trilby.transformers.proof._two_tokens", lambda model: 1 / 0)
    assert main(["accelerate", str(folder), "--tokens", "2,3", *FEW]) == 1
    assert "A call of two tokens raised ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["nowhere", "--tokens", "5"], "nowhere is not a folder; give that of a checkpoint"),
        (["empty", "--tokens", "5"], "empty holds no config.json; give a folder that save_pre"),
        (["broken", "--tokens", "5"], "broken cannot be loaded, it raises"),
        (["llama", "--tokens", "5"], "a LlamaForCausalLM, and none of its layers calls a function"),
        (
            ["llama", "--prompt", "hi"],
            "llama holds no tokenizer; save one there, or give token ids",
        ),
        (["llama", "--tokens", "5,x"], "--tokens is '5,x', expected numbers like 5,9,12"),
        (["llama", "--tokens", "500"], "the token 500, and the vocabulary of the model ends at 95"),
        (["llama"], "give one of --prompt TEXT and --tokens 5,9,12"),
        (["llama", "--prompt", "a", "--tokens", "5"], "give one of --prompt TEXT and --tokens"),
    ],
)
def test_wrong_input_is_one_line(given, told, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    if given[0] == "llama":
        checkpoint("llama", tmp_path / "llama")
    monkeypatch.setattr("trilby.cli.accelerate.talk", lambda text: None)
    assert told in refused(capsys, main, ["accelerate", *given])


def test_an_empty_prompt_is_refused(folder, capsys):
    assert "--prompt has no tokens" in refused(
        capsys, main, ["accelerate", str(folder), "--prompt", ""]
    )


@pytest.mark.parametrize(
    ("release", "told"), [(None, "transformers cannot be imported"), ("5.15.1", "is 5.15.1, whose")]
)
def test_transformers_missing_or_too_old_is_one_line(release, told, capsys, monkeypatch):
    if release is None:
        monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    else:
        monkeypatch.setattr("transformers.__version__", release)
    assert told in refused(capsys, main, ["accelerate", "anywhere", "--tokens", "5"])
