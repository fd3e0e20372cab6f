"""XLM made causal ignores its padding mask; XLNet made causal takes no mask at all."""

import torch
from small import logits, noise, seeded, tell, tokens
from transformers import XLMConfig, XLMWithLMHeadModel, XLNetConfig, XLNetLMHeadModel

config = XLMConfig(vocab_size=64, emb_dim=32, n_layers=2, n_heads=4, causal=True)
model, ids = seeded(XLMWithLMHeadModel, config), tokens(1, 9)
mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]])
padded = torch.nn.functional.pad(ids, (3, 0), value=2)
places = (mask.cumsum(1) - 1).clamp(min=0)
floor = noise(lambda: logits(model, ids), model)
got = logits(model, padded, attention_mask=mask, position_ids=places)[:, 3:]
tell("XLM, causal, 3 pads at the left, masked", got, logits(model, ids), floor)
xlnet = XLNetConfig(vocab_size=64, d_model=32, n_layer=2, n_head=4, d_inner=64, attn_type="uni")
model = XLNetLMHeadModel(xlnet).eval()
ids = tokens(2, 9)
try:
    with torch.no_grad():
        model(ids, attention_mask=torch.ones_like(ids))
    print("XLNet, uni, with a mask of ones: fine")
except RuntimeError as error:
    print(f"XLNet, uni, with a mask of ones: {type(error).__name__}: {error}")
