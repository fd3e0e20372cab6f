"""ProphetNet: a position reads tokens that stand after it."""

import torch
from small import logits, noise, seeded, tell, tokens
from transformers import ProphetNetConfig, ProphetNetForCausalLM

config = ProphetNetConfig(
    vocab_size=64, hidden_size=32, num_decoder_layers=2, num_encoder_layers=2, decoder_ffn_dim=64,
    encoder_ffn_dim=64, num_decoder_attention_heads=4, num_encoder_attention_heads=4,
    max_position_embeddings=64, is_decoder=True,
)  # fmt: skip
model = seeded(ProphetNetForCausalLM, config)
for length, changed in ((5, 1), (8, 3), (12, 3)):
    ids = tokens(1, length)
    other = ids.clone()
    other[0, changed] = (other[0, changed] + 7) % 55 + 5
    want, got = logits(model, ids)[:, :changed], logits(model, other)[:, :changed]
    floor = noise(lambda ids=ids: logits(model, ids), model)
    tell(f"T={length}, token {changed} changed, what stands before it", got, want, floor)
ids = tokens(1, 12)
floor = noise(lambda: logits(model, ids), model)
whole = logits(model, ids)[:, :6]
tell("the first 6 of 12 positions, by themselves", logits(model, ids[:, :6]), whole, floor)
with torch.no_grad():
    twice = torch.cat([ids, ids])
    tell("a batch of two, row 1", logits(model, twice)[1:], logits(model, ids), floor)

# The scores of relative positions are laid out [B, time, ngram, heads, buckets] and read as
# [B, ngram, heads, time, buckets]. In the layout in which they are read, nothing leaks.
permute = torch.Tensor.permute


def mended(self, *axes):
    return permute(self, *((0, 1, 4, 2, 3) if axes == (0, 2, 1, 4, 3) else axes))


torch.Tensor.permute = mended
other = ids.clone()
other[0, 3] = (other[0, 3] + 7) % 55 + 5
whole, floor = logits(model, ids), noise(lambda: logits(model, ids), model)
tell("mended, token 3 of 12 changed", logits(model, other)[:, :3], whole[:, :3], floor)
tell("mended, the first 6 of 12", logits(model, ids[:, :6]), whole[:, :6], floor)
