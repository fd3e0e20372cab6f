"""Hints for the configurations of single types, where the general rules are not enough.

`first` has what the default configuration needs to be built. `config` has values for the small
configuration that replace those of the rules. `part` is the part of a composite configuration that
the model is built from. `whole` says that a call with a cache takes all tokens from the first on.
"""

from typing import Any

_LINEAR, _FULL, _SLIDING = "linear_attention", "full_attention", "sliding_attention"
_ROPE = dict(rope_type="default", rope_theta=10_000.0)
_INDEXER = dict(
    indexer_n_heads=16, indexer_kv_heads=1, indexer_head_dim=8, indexer_budget=4,
    indexer_compress_ratio=2,
)  # fmt: skip

_NARROW = dict(
    swa_num_attention_heads=4, swa_num_key_value_heads=4, swa_q_lora_rank=16, swa_kv_lora_rank=16,
    swa_head_dim=16, swa_qk_nope_head_dim=8, swa_v_head_dim=8,
)  # fmt: skip

HINTS: dict[str, dict[str, Any]] = {
    "bamba": dict(config=dict(attn_layer_indices=[1])),
    "blt": dict(config=dict(encoder_hash_byte_group_vocab=100)),
    "cohere_compass_text": dict(config=dict(rope_parameters={_FULL: _ROPE, _SLIDING: _ROPE})),
    "dbrx": dict(config=dict(attn_config=dict(kv_n_heads=2, clip_qkv=8.0, rope_theta=10_000.0))),
    "deepseek_v2": dict(config=dict(num_experts_per_tok=2)),
    "dory": dict(
        config=dict(
            num_hidden_layers=3, n_input_layers=1, n_recurrent_layers=1, n_output_layers=1,
            layer_types=[_SLIDING, _FULL, _SLIDING],
        )
    ),
    "dots3_note": dict(config=dict(text_config=_NARROW)),
    "dots3_note_text": dict(config=_NARROW),
    "dots1": dict(config=dict(n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1)),
    "gemma3n": dict(why_not="its vision tower is a timm model"),
    "gemma4_assistant": dict(why_not="a draft head: it reads the keys and values of another model"),
    "gemma4_unified_assistant": dict(
        why_not="a draft head: it reads the keys and values of another model"
    ),
    "gemma3n_text": dict(
        config=dict(
            num_hidden_layers=4, num_kv_shared_layers=2, intermediate_size=64,
            layer_types=[_SLIDING, _FULL, _SLIDING, _FULL],
            activation_sparsity_pattern=[0.95, 0.0, 0.95, 0.0],
        )
    ),
    "gpt_neo": dict(config=dict(attention_types=[[["global", "local"], 1]], num_layers=2)),
    "granitemoehybrid": dict(config=dict(layer_types=[_LINEAR, _FULL])),
    "hrm_text": dict(config=dict(num_layers_per_stack=2, num_hidden_layers=16)),
    "jamba": dict(config=dict(attn_layer_period=2, attn_layer_offset=1, use_mamba_kernels=False)),
    "lfm2": dict(config=dict(num_hidden_layers=2, layer_types=["conv", _FULL])),
    "lfm2_moe": dict(config=dict(layer_types=["conv", _FULL])),
    "mamba2": dict(config=dict(num_heads=8)),
    "musicgen": dict(part="decoder", config=dict(decoder=dict(num_codebooks=1))),
    "musicgen_melody": dict(part="decoder", config=dict(decoder=dict(num_codebooks=1))),
    "nemotron": dict(config=dict(num_key_value_heads=2)),
    "prophetnet": dict(config=dict(pad_token_id=0)),  # its positions count from there
    "qwen4_exp": dict(config=dict(text_config=_INDEXER)),
    "qwen4_exp_text": dict(config=_INDEXER),
    "recurrent_gemma": dict(config=dict(num_hidden_layers=3)),
    "reformer": dict(config=dict(hash_seed=0, axial_pos_embds=False)),
    "xlm": dict(config=dict(causal=True), whole=True),
    "xlnet": dict(config=dict(attn_type="uni")),
    "xlstm": dict(config=dict(hidden_size=128, embedding_dim=128)),  # its state is in blocks of 64
    "xmod": dict(config=dict(default_language="en_XX")),
    "zamba": dict(
        config=dict(
            num_hidden_layers=4, layers_block_type=[_LINEAR, "hybrid", _LINEAR, "hybrid"],
            attention_hidden_size=64, attention_head_dim=16, use_mamba_kernels=False,
        )
    ),
}  # fmt: skip
