"""Mamba-1 layers: a cached forward of more than one token forgets the state before it."""

from small import logits, noise, pieces, seeded, tell, tokens
from transformers import (
    FalconMambaConfig,
    FalconMambaForCausalLM,
    JambaConfig,
    JambaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    ZambaConfig,
    ZambaForCausalLM,
)

SMALL = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2)
WIDE = dict(intermediate_size=64, num_attention_heads=4, num_key_value_heads=2)
JAMBA = dict(attn_layer_period=2, attn_layer_offset=1, num_experts=1, use_mamba_kernels=False)
ZAMBA = dict(
    layers_block_type=["mamba", "hybrid", "mamba", "hybrid"], use_mamba_kernels=False,
    attention_hidden_size=64, attention_head_dim=16, pad_token_id=0,
)  # fmt: skip
for cls, config in (
    (MambaForCausalLM, MambaConfig(**SMALL, state_size=8, time_step_rank=4)),
    (FalconMambaForCausalLM, FalconMambaConfig(**SMALL, state_size=8, time_step_rank=4)),
    (JambaForCausalLM, JambaConfig(**SMALL, **WIDE, **JAMBA)),
    (ZambaForCausalLM, ZambaConfig(**SMALL | dict(num_hidden_layers=4), **WIDE, **ZAMBA)),
):
    model, ids = seeded(cls, config), tokens(1, 12)
    whole = logits(model, ids)
    floor = noise(lambda model=model, ids=ids: logits(model, ids), model)
    for what, lengths in (("6, 3, 3", [6, 3, 3]), ("6, 1, 1 ...", [6] + [1] * 6)):
        try:
            got = pieces(model, ids, lengths)
        except Exception as error:
            print(f"{cls.__name__} in pieces of {what}: {type(error).__name__}: {error}")
            continue
        tell(f"{cls.__name__} in pieces of {what}", got, whole, floor)
