"""Mamba-2 layers: a pass clamps dt to `time_step_min`, one token at a time it does not."""

from small import logits, noise, pieces, seeded, tell, tokens
from transformers import NemotronHConfig, NemotronHForCausalLM, Zamba2Config, Zamba2ForCausalLM

SMALL = dict(
    vocab_size=64, hidden_size=32, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=64, chunk_size=8,
)  # fmt: skip
NEMOTRON = dict(
    hybrid_override_pattern="M*", num_hidden_layers=2, head_dim=8, ssm_state_size=8,
    mamba_num_heads=8, mamba_head_dim=8, n_groups=2, use_mamba_kernels=False,
)  # fmt: skip
ZAMBA = dict(
    layers_block_type=["mamba", "hybrid"], num_hidden_layers=2, mamba_d_state=8, n_mamba_heads=8,
    use_mamba_kernels=False,
)  # fmt: skip
for cls, config in (
    (NemotronHForCausalLM, NemotronHConfig(**SMALL, **NEMOTRON)),
    (Zamba2ForCausalLM, Zamba2Config(**SMALL, **ZAMBA)),
):
    model, ids = seeded(cls, config), tokens(1, 12)
    for name, weight in model.named_parameters():
        if name.endswith("dt_bias"):
            weight.data.fill_(-7.0)  # softplus(-7) = 0.0009, below time_step_min = 0.001
    whole = logits(model, ids)
    floor = noise(lambda model=model, ids=ids: logits(model, ids), model)
    tell(f"{cls.__name__} token by token", pieces(model, ids, [1] * 12), whole, floor)
    tell(f"{cls.__name__} in pieces of 6, 6", pieces(model, ids, [6, 6]), whole, floor)
