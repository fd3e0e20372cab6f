"""Draws the layers of a small hybrid that has learned the sonnets, in light and dark.

    python docs/pictures/hybrid.py FOLDER   # trains for minutes if FOLDER does not exist

Three layers of the gated delta rule and one of attention, as in Qwen3.5, with a tokenizer of its
own. FOLDER is then a checkpoint that `trilby explore FOLDER` reads.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3_5ForCausalLM, Qwen3_5TextConfig

import trilby
import trilby.transformers
from trilby import data
from trilby.explorer.pictures import svg

HERE = Path(__file__).parent
WORDS, WIDTH, STEPS, BATCH, LENGTH = 512, 128, 600, 8, 128


def tokenizer(text: str) -> PreTrainedTokenizerFast:
    """Pairs of bytes, learned from the text."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=WORDS, initial_alphabet=alphabet)
    words.train_from_iterator([text], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=words)


def trained(folder: Path) -> None:
    """A checkpoint in the folder."""
    text = data.sonnets()
    words = tokenizer(text)
    ids = torch.tensor(words(text)["input_ids"])
    torch.manual_seed(0)
    config = Qwen3_5TextConfig(
        vocab_size=len(words), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, linear_num_key_heads=4,
        linear_num_value_heads=4, linear_key_head_dim=32, linear_value_head_dim=32,
        max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen3_5ForCausalLM(config)
    best = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(best, STEPS)
    with trilby.transformers.accelerated(model):
        for _ in range(STEPS):
            start = torch.randint(len(ids) - LENGTH, (BATCH,))
            batch = torch.stack([ids[i : i + LENGTH] for i in start])
            loss = model(input_ids=batch, labels=batch).loss
            best.zero_grad()
            loss.backward()
            best.step()
            slower.step()
    model.save_pretrained(folder)
    words.save_pretrained(folder)


def main(folder: Path) -> None:
    """Train where it is needed, and draw."""
    if not folder.exists():
        trained(folder)
    shown = trilby.explore(folder, T=64, head=0)
    short = [replace(one, name=f"{one.head.layer} {one.head.kind}") for one in shown.triangles]
    for dark in (False, True):
        text = svg(short, dark=dark, side=192)
        (HERE / f"hybrid-{'dark' if dark else 'light'}.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
