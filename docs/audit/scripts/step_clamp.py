"""Mamba-2 layers: a pass clamps dt to `time_step_min`, one token at a time it does not."""

import itertools

import transformers
from small import logits, noise, pieces, seeded, tell, tokens

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
TYPES = (("NemotronHForCausalLM", NEMOTRON), ("Zamba2ForCausalLM", ZAMBA))
for least, (name, how) in itertools.product((1e-3, 1e-12), TYPES):
    cls = getattr(transformers, name, None)
    if cls is None:
        continue
    config = cls.config_class(**SMALL, **how, time_step_min=least)
    model, ids = seeded(cls, config), tokens(1, 12)
    for path, weight in model.named_parameters():
        if path.endswith("dt_bias"):
            weight.data.fill_(-7.0)  # softplus(-7) = 0.0009, below time_step_min = 0.001
    try:
        whole = logits(model, ids)
        floor = noise(lambda model=model, ids=ids: logits(model, ids), model)
        tell(
            f"{name}, at least {least}, token by token", pieces(model, ids, [1] * 12), whole, floor
        )
        tell(
            f"{name}, at least {least}, in pieces of 6, 6", pieces(model, ids, [6, 6]), whole, floor
        )
    except Exception as error:  # of older releases
        print(f"{name}: {type(error).__name__}: {error}")
