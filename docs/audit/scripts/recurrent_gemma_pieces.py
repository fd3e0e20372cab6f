"""RecurrentGemma: a cached call of more than one token starts from nothing again."""

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
for lengths in ([6, 1, 1, 1, 1, 1, 1], [6, 6]):
    cache, at, parts = DynamicCache(config=config), 0, []
    for n in lengths:
        how = dict(cache=cache, use_cache=True, position_ids=torch.arange(at, at + n)[None])
        with torch.no_grad():
            parts.append(model(ids[:, at : at + n], **how).logits)
        at += n
    tell(f"pieces of {lengths}", torch.cat(parts, 1), whole, floor)
