"""Older releases that read the future: Doge under sdpa, Moshi in eager, Zamba2; 5.24.0 does not."""

import torch
from small import logits, noise, seeded, tell, tokens
from transformers import (
    DogeConfig,
    DogeForCausalLM,
    MoshiConfig,
    MoshiForCausalLM,
    Zamba2Config,
    Zamba2ForCausalLM,
)

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
config = Zamba2Config(
    **SMALL, intermediate_size=64, num_key_value_heads=2, chunk_size=4, mamba_d_state=8,
    layers_block_type=["mamba", "hybrid"], n_mamba_heads=8, use_mamba_kernels=False,
)  # fmt: skip
model, ids = seeded(Zamba2ForCausalLM, config), tokens(1, 8)
other = ids.clone()
other[0, 5:] = (other[0, 5:] + 7) % 55 + 5
try:
    floor = noise(lambda: logits(model, ids), model)
    want, got = logits(model, ids)[:, :5], logits(model, other)[:, :5]
    tell(
        "Zamba2ForCausalLM, chunks of 4, tokens 5 to 7 changed, what is before them",
        got,
        want,
        floor,
    )
    with torch.no_grad():
        tell("the same, the first 5 of 8 by themselves", logits(model, ids[:, :5]), want, floor)
except AttributeError as error:  # of 5.0.0
    print(f"Zamba2ForCausalLM: {error}")
