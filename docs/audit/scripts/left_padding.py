"""Left padding, as `generate` calls it: these types answer otherwise than without padding.

For DeepSeek-V4 the second of two packed documents as well: its first block starts in the first one.
"""

import torch
import transformers
from small import generated, logits, noise, seeded, tell, tokens

SMALL = dict(
    vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, pad_token_id=0
)
TYPES = {
    "GitForCausalLM": dict(SMALL, intermediate_size=64, max_position_embeddings=64),
    "RecurrentGemmaForCausalLM": dict(
        SMALL, num_hidden_layers=3, intermediate_size=64, num_key_value_heads=1, lru_width=32
    ),
    "DeepseekV4ForCausalLM": dict(
        SMALL, num_key_value_heads=1, head_dim=16, qk_rope_head_dim=8, q_lora_rank=16,
        o_lora_rank=16, o_groups=2, moe_intermediate_size=32, n_routed_experts=4,
        num_experts_per_tok=2, index_n_heads=16, index_head_dim=16, index_topk=4, sliding_window=4,
        layer_types=["heavily_compressed_attention", "compressed_sparse_attention"],
        compress_rates=dict(heavily_compressed_attention=8, compressed_sparse_attention=4),
    ),
}  # fmt: skip
for name, how in TYPES.items():
    cls = getattr(transformers, name, None)
    if cls is None:
        continue
    model, ids = seeded(cls, cls.config_class(**how)), tokens(1, 9)
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    for pads in (0, 3, 8):  # 8 is a whole number of blocks
        mask = torch.cat([torch.zeros(1, pads), torch.ones(1, 9)], 1).long()
        prompt = torch.nn.functional.pad(ids, (pads, 0), value=0)
        whole, wrote = generated(model, prompt, attention_mask=mask)
        want = logits(model, whole[:, pads:])[:, 8:-1]
        floor = noise(lambda model=model, ids=ids: logits(model, ids), model)
        tell(f"{name}.generate after {pads} pads", wrote, want, floor)
        tell(
            f"{name}.generate after {pads} pads, the first token", wrote[:, :1], want[:, :1], floor
        )
        if pads:
            places = (mask.cumsum(1) - 1).clamp(min=0) if name != "GitForCausalLM" else None
            how = {"position_ids": places} if places is not None else {}
            one, other = (
                logits(model, torch.nn.functional.pad(ids, (pads, 0), value=filler),
                       attention_mask=mask, **how)[:, pads:]
                for filler in (0, 61)
            )  # fmt: skip
            tell(f"{name}, one pass, {pads} pads of another token", other, one, floor)
    if name == "DeepseekV4ForCausalLM":
        place = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3]])
        got, want = logits(model, ids, position_ids=place)[:, 5:], logits(model, ids[:, 5:])
        tell(f"{name}, documents of 5 and 4, the second", got, want, floor)
        place = torch.arange(9)[None] % 8
        got, want = logits(model, ids, position_ids=place)[:, :8], logits(model, ids[:, :8])
        tell(f"{name}, documents of 8 and 1, the first", got, want, floor)
