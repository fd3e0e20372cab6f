"""RWKV: one token at a time, the rows of a batch are mixed (a state [B, C] meets [B, 1, C])."""

from small import logits, noise, pieces, seeded, tell, tokens
from transformers import RwkvConfig, RwkvForCausalLM

config = RwkvConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, context_length=64)
model, ids = seeded(RwkvForCausalLM, config), tokens(2, 8)
whole = logits(model, ids)
floor = noise(lambda: logits(model, ids), model)
tell("a batch of one, token by token", pieces(model, ids[:1], [1] * 8), whole[:1], floor)
got = pieces(model, ids, [7, 1])
print(f"a batch of two, 7 tokens and then 1: logits {tuple(got.shape)}, expected (2, 8, 64)")
tell("its last position, row 0", got[:1, 7], whole[:1, 7], floor)
tell("its last position, row 1", got[1:, 7], whole[1:, 7], floor)
