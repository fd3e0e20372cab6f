"""Types that take `position_ids` and do not hand them to their mask: documents are mixed."""

import torch
import transformers
from small import logits, noise, seeded, tell, tokens

torch.set_default_dtype(torch.float64)  # XGLM fills a mask with the least number of its weights

SMALL = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
BERT = dict(SMALL, intermediate_size=64, max_position_embeddings=64, is_decoder=True)
TYPES = {
    "LlamaForCausalLM": dict(SMALL, intermediate_size=64),  # keeps them apart
    "AfmoeForCausalLM": dict(
        SMALL, intermediate_size=64, moe_intermediate_size=32, num_key_value_heads=2, head_dim=8,
        num_experts=4, num_experts_per_tok=2, sliding_window=16, num_dense_layers=2,
    ),
    "GptOssForCausalLM": dict(
        SMALL, intermediate_size=64, num_key_value_heads=2, head_dim=8, num_local_experts=4,
        num_experts_per_tok=2, sliding_window=16,
    ),
    "OPTForCausalLM": dict(
        SMALL, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=64
    ),
    "BioGptForCausalLM": dict(SMALL, intermediate_size=64, max_position_embeddings=64),
    "OpenAIGPTLMHeadModel": dict(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "XGLMForCausalLM": dict(
        vocab_size=64, d_model=32, num_layers=2, attention_heads=4, ffn_dim=64,
        max_position_embeddings=64,
    ),
    "XLMWithLMHeadModel": dict(vocab_size=64, emb_dim=32, n_layers=2, n_heads=4, causal=True),
    "BertLMHeadModel": BERT,
    "BertGenerationDecoder": BERT,
    "BigBirdForCausalLM": dict(BERT, attention_type="original_full"),
    "ElectraForCausalLM": dict(BERT, embedding_size=32),
    "ErnieForCausalLM": BERT,
    "MegatronBertForCausalLM": BERT,
    "RemBertForCausalLM": dict(BERT, input_embedding_size=32, output_embedding_size=32),
    "RoCBertForCausalLM": dict(BERT, enable_pronunciation=False, enable_shape=False),
}  # fmt: skip
position = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6]])
for name, how in TYPES.items():
    cls = getattr(transformers, name, None)
    if cls is None:
        continue
    model, ids = seeded(cls, cls.config_class(**how)), tokens(1, 12)
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    alone = logits(model, ids[:, 5:])
    floor = noise(lambda model=model, ids=ids: logits(model, ids), model)
    tell(f"{name}, second document", logits(model, ids, position_ids=position)[:, 5:], alone, floor)
