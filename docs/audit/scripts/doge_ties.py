"""Doge: a token that stands twice ties in the choice of what to keep, and T decides who wins."""

import torch
from small import logits, noise, seeded, tell
from transformers import DogeConfig, DogeForCausalLM

config = DogeConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
    num_key_value_heads=2, keep_window_size=4,
)  # fmt: skip
model = seeded(DogeForCausalLM, config)
worst = None
for seed in range(20):
    ids = torch.randint(5, 60, (1, 15), generator=torch.Generator().manual_seed(seed))
    whole = logits(model, ids)
    for cut in range(5, 15):
        got = logits(model, ids[:, :cut])
        off = (got - whole[:, :cut]).abs().max().item()
        if worst is None or off > worst[0]:
            worst = off, ids, cut, got, whole[:, :cut]
_, ids, cut, got, want = worst
floor = noise(lambda: logits(model, ids), model)
print("tokens", ids[0].tolist(), "cut at", cut)
tell("a prefix against the whole", got, want, floor)
