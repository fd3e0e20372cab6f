"""ProphetNet: what is said at a position depends on how many positions follow."""

from small import logits, noise, seeded, tell, tokens
from transformers import ProphetNetConfig, ProphetNetForCausalLM

config = ProphetNetConfig(
    vocab_size=64, hidden_size=32, num_decoder_layers=2, num_encoder_layers=2, decoder_ffn_dim=64,
    encoder_ffn_dim=64, num_decoder_attention_heads=4, num_encoder_attention_heads=4,
    max_position_embeddings=64, is_decoder=True,
)  # fmt: skip
model, ids = seeded(ProphetNetForCausalLM, config), tokens(1, 12)
whole = logits(model, ids)
floor = noise(lambda: logits(model, ids), model)
other = ids.clone()
other[:, 6:] = tokens(1, 6, seed=9)
tell("6 positions, the 6 after them rewritten", logits(model, other)[:, :6], whole[:, :6], floor)
tell("6 positions, the 6 after them left out", logits(model, ids[:, :6]), whole[:, :6], floor)
