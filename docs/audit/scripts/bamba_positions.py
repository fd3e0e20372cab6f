"""Bamba: a cached call without `position_ids` starts to count again at 0."""

from small import logits, noise, pieces, seeded, tell, tokens
from transformers import BambaConfig, BambaForCausalLM

config = BambaConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
    num_key_value_heads=2, attn_layer_indices=[1], mamba_n_heads=8, mamba_d_head=8, mamba_d_state=8,
)  # fmt: skip
model, ids = seeded(BambaForCausalLM, config), tokens(1, 12)
whole = logits(model, ids)
floor = noise(lambda: logits(model, ids), model)
tell("token by token, no position_ids", pieces(model, ids, [1] * 12), whole, floor)
tell("token by token, position_ids", pieces(model, ids, [1] * 12, counted=True), whole, floor)
