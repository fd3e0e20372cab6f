"""`trilby check hf:DIRECTORY`: vocabulary, cache and mask are found from the checkpoint."""

import json

import pytest
import torch

from trilby.cli import main

transformers = pytest.importorskip("transformers")
TINY = dict(vocab_size=32, bos_token_id=1, eos_token_id=2)


def saved(kind, folder):
    torch.manual_seed(0)
    if kind == "llama":
        config = transformers.LlamaConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, **TINY,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=4, n_positions=128, **TINY)
        model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_checkpoint_is_judged_with_its_cache_and_with_pads(kind, tmp_path, capsys):
    laws = [word for law in ("repeats", "resumes", "padding") for word in ("--law", law)]
    target = f"hf:{saved(kind, tmp_path)}"
    assert main(["check", target, "--effort", "quick", "--json", *laws]) == 0
    verdicts = json.loads(capsys.readouterr().out)["verdicts"]
    assert {v["law"]: v["outcome"] for v in verdicts} == dict.fromkeys(
        ("repeats", "resumes", "padding"), "holds"
    )


def test_a_folder_without_weights_is_one_line(tmp_path, capsys):
    assert main(["check", f"hf:{tmp_path}"]) == 2
    complaint = capsys.readouterr().err
    assert f"check: {tmp_path} cannot be loaded, it raises" in complaint
    assert complaint.count("\n") == 1
