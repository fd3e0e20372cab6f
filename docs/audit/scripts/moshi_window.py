"""Moshi: the cache forgets what lies before `sliding_window`, a pass over the whole does not."""

from small import logits, noise, pieces, seeded, tell, tokens
from transformers import MoshiConfig, MoshiForCausalLM

config = MoshiConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64,
    head_dim=8, sliding_window=8,
)  # fmt: skip
model, ids = seeded(MoshiForCausalLM, config), tokens(1, 16)
whole = logits(model, ids)
floor = noise(lambda: logits(model, ids), model)
got = pieces(model, ids, [1] * 16)
tell("token by token, within the window of 8", got[:, :8], whole[:, :8], floor)
tell("token by token, beyond it", got[:, 8:], whole[:, 8:], floor)
