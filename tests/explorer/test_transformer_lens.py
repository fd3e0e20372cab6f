"""Our triangles beside those of TransformerLens, where both are exact: attention, Mamba, Mamba-2.

TransformerLens reads the hooks of a model's submodules. transformers 5.24.0 does not call those of
Mamba that it needs, and 5.12.1 does. So it runs in an environment of its own, and files are
exchanged:

    python -m venv lens && lens/bin/pip install transformer-lens==4.3.0 transformers==5.12.1
    TRANSFORMER_LENS=lens/bin/python pytest -m long tests/explorer/test_transformer_lens.py
"""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

import trilby
from tests.explorer.models import built, ids

PYTHON = os.environ.get("TRANSFORMER_LENS")
CLOSE = 1e-5  # of the largest weight: TransformerLens computes in float32

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        PYTHON is None,
        reason="TRANSFORMER_LENS names no Python with transformer_lens; see the top of the file",
    ),
]


def words() -> PreTrainedTokenizerFast:
    """A tokenizer that nobody asks anything, for TransformerLens loads none without one."""
    table = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    return PreTrainedTokenizerFast(
        tokenizer_object=table, bos_token="a", eos_token="a", pad_token="a", unk_token="a"
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma2", "qwen3", "mamba", "mamba2"])
def test_both_unfold_to_the_same(kind, tmp_path):
    model = built(kind)
    model.save_pretrained(tmp_path)
    words().save_pretrained(tmp_path)
    save_file({"ids": ids()}, tmp_path / "ids.safetensors")
    out = tmp_path / "out.safetensors"
    script = Path(__file__).with_name("lens.py")
    subprocess.run([PYTHON, script, tmp_path, out], check=True, timeout=300)
    theirs = load_file(out)
    shown = trilby.explore(tmp_path, ids())
    assert {one.head.layer for one in shown.triangles} == {*map(int, theirs)}
    # The norm behind Mamba-2's scan is one for all groups in 5.12.1, so later layers read others.
    same = [one for one in shown.triangles if kind != "mamba2" or one.head.layer == 0]
    assert same
    for one in same:
        wei = theirs[str(one.head.layer)][one.head.number].double()
        if "mamba" in kind:  # ours has the skip D on the diagonal
            mixer = model.get_submodule(f"backbone.layers.{one.head.layer}.mixer")
            wei = wei + float(mixer.D.detach()[one.head.number]) * torch.eye(len(wei))
        far = float((wei - one.weights).abs().max() / one.weights.abs().max())
        print(f"{kind}, {one.name}: {far:.1e}")
        assert far <= CLOSE
