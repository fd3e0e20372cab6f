"""Doge under sdpa in 5.0.0, and Moshi in eager up to 5.0.0, read the future; 5.24.0 does not."""

from small import logits, noise, seeded, tell, tokens
from transformers import DogeConfig, DogeForCausalLM, MoshiConfig, MoshiForCausalLM

SMALL = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
DOGE = dict(SMALL, intermediate_size=64, num_key_value_heads=2)
MOSHI = dict(SMALL, ffn_dim=64, head_dim=8, sliding_window=8)
for cls, config, length in (
    (DogeForCausalLM, DogeConfig(**DOGE), 2),
    (MoshiForCausalLM, MoshiConfig(**MOSHI), 6),
):
    for way in ("eager", "sdpa"):
        config._attn_implementation = way
        model, ids = seeded(cls, config), tokens(1, length)
        other = ids.clone()
        other[0, -1] = (other[0, -1] + 7) % 55 + 5
        floor = noise(lambda model=model, ids=ids: logits(model, ids), model)
        want, got = logits(model, ids)[:, :-1], logits(model, other)[:, :-1]
        tell(f"{cls.__name__}, {way}, the last token changed, what is before it", got, want, floor)
