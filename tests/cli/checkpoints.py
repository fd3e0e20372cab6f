"""Small checkpoints of transformers on disk, with random weights."""

import warnings

import torch

WORDS = ["[UNK]", "[PAD]", "the", "cat", "sat", "on", "mat", "and", "dog", "ran"]


def checkpoint(kind, folder, tokenizer=False):
    """Save a small model of a type, and a tokenizer that knows a few words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import PreTrainedTokenizerFast

        from trilby.audit.transformers import make

        make(kind, torch.float32).save_pretrained(folder)
    if tokenizer:
        from tokenizers import Tokenizer, models, pre_tokenizers

        names = WORDS + [f"w{i}" for i in range(len(WORDS), 96)]
        found = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="[UNK]"))
        found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        fast = PreTrainedTokenizerFast(tokenizer_object=found, unk_token="[UNK]", pad_token="[PAD]")
        fast.save_pretrained(folder)
    return folder
