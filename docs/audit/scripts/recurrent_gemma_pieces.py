"""RecurrentGemma keeps its state in the module: pieces of several tokens, and a prompt of one."""

import inspect

import torch
from small import logits, noise, seeded, tell, tokens
from transformers import DynamicCache, RecurrentGemmaConfig, RecurrentGemmaForCausalLM

config = RecurrentGemmaConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
    num_key_value_heads=1, lru_width=32,
)  # fmt: skip
model, ids = seeded(RecurrentGemmaForCausalLM, config), tokens(1, 12)
whole = logits(model, ids)
floor = noise(lambda: logits(model, ids), model)
for lengths in ([6] + [1] * 6, [6, 6], [1] * 12):  # the last one meets what the others left behind
    cache, at, parts = DynamicCache(config=config), 0, []
    for n in lengths:
        place = torch.arange(at, at + n)
        how = dict(use_cache=True, position_ids=place[None])
        takes = inspect.signature(model.forward).parameters
        how |= dict(cache=cache) if "cache" in takes else dict(cache_position=place)
        with torch.no_grad():
            parts.append(model(ids[:, at : at + n], **how).logits)
        at += n
    tell(f"pieces of {lengths}", torch.cat(parts, 1), whole, floor)
