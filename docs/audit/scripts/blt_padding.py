"""BLT: the global transformer, over patches of bytes, hears nothing of padding or of documents."""

import torch
from small import logits, noise, seeded, tell, tokens
from transformers import BltConfig, BltForCausalLM

PART = dict(
    vocab_size=96, hidden_size=32, num_attention_heads=4, num_key_value_heads=2,
    num_hidden_layers=2, intermediate_size=64,
)  # fmt: skip
LOCAL = dict(PART, cross_attn_k=2, hidden_size_global=32)
config = BltConfig(
    vocab_size=96, cross_attn_k=2, encoder_hash_byte_group_vocab=100, patcher_config=PART,
    encoder_config=LOCAL, decoder_config=LOCAL,
    global_config={**PART, "encoder_cross_output_size": 64},
)  # fmt: skip
model, ids = seeded(BltForCausalLM, config), tokens(1, 12)
alone, floor = logits(model, ids), noise(lambda: logits(model, ids), model)
mask = torch.tensor([[0, 0, 0] + [1] * 12])
places = (mask.cumsum(1) - 1).clamp(min=0)
for filler in (2, 61):
    padded = torch.nn.functional.pad(ids, (3, 0), value=filler)
    got = logits(model, padded, attention_mask=mask, position_ids=places)[:, 3:]
    tell(f"3 pads of token {filler} at the left, masked", got, alone, floor)
mask = torch.tensor([[1] * 12 + [0, 0, 0]])
padded = torch.nn.functional.pad(ids, (0, 3), value=2)
got = logits(model, padded, attention_mask=mask)[:, :12]
tell("3 pads at the right, masked", got, alone, floor)
packed = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6]])
want, got = logits(model, ids[:, 5:]), logits(model, ids, position_ids=packed)[:, 5:]
tell("second document", got, want, floor)
