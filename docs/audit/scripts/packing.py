"""Packed documents told by restarting `position_ids`: with a cache, the default, nobody looks."""

import torch
from small import logits, noise, seeded, tell, tokens
from transformers import LlamaConfig, LlamaForCausalLM

config = LlamaConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
)
model, ids = seeded(LlamaForCausalLM, config), tokens(1, 12)
packed = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6]])
for train in (False, True):
    model.train(train)
    for cache in (True, False):  # True is what a configuration says by default
        alone = logits(model, ids[:, 5:], use_cache=cache)
        floor = noise(lambda cache=cache: logits(model, ids, use_cache=cache), model)
        got = logits(model, ids, position_ids=packed, use_cache=cache)[:, 5:]
        tell(f"second document, training={train}, use_cache={cache}", got, alone, floor)
