"""RoBERTa and its family: `generate` counts positions from 0, a pass from padding_idx + 1."""

import transformers
from small import generated, logits, noise, seeded, tell, tokens

SMALL = dict(
    vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
    max_position_embeddings=64, is_decoder=True, pad_token_id=1, bos_token_id=0, eos_token_id=2,
)  # fmt: skip
FAMILY = (
    "Roberta",
    "RobertaPreLayerNorm",
    "Camembert",
    "XLMRoberta",
    "XLMRobertaXL",
    "Data2VecText",
)
for name in (*FAMILY, "Xmod"):
    more = dict(default_language="en_XX") if name == "Xmod" else {}
    config = getattr(transformers, f"{name}Config")(**SMALL, **more)
    model = seeded(getattr(transformers, f"{name}ForCausalLM"), config)
    whole, wrote = generated(model, tokens(1, 8))
    want = logits(model, whole)[:, 7:-1]
    floor = noise(lambda model=model, whole=whole: logits(model, whole), model)
    tell(f"{name}ForCausalLM.generate against one pass", wrote, want, floor)
