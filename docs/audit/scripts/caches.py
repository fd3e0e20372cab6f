"""Caches that cannot be used: BLT lacks a name, and xLSTM rounds the sizes of its state up."""

import torch
from small import seeded, tokens
from transformers import BltConfig, DynamicCache, xLSTMConfig, xLSTMForCausalLM

try:
    DynamicCache(config=BltConfig())
    print("DynamicCache of BltConfig: made")
except Exception as error:
    print(f"DynamicCache of BltConfig: {type(error).__name__}: {error}")
for width in (32, 64, 128):
    config = xLSTMConfig(vocab_size=64, hidden_size=width, num_hidden_layers=2, num_heads=4)
    model, ids = seeded(xLSTMForCausalLM, config), tokens(1, 8)
    try:
        with torch.no_grad():
            went = model(ids, use_cache=True)
            name = "cache" if hasattr(went, "cache") else "cache_params"
            model(ids[:, :1], use_cache=True, **{name: getattr(went, name)})
        print(f"xLSTM of width {width}, a second call: fine")
    except Exception as error:
        print(f"xLSTM of width {width}, a second call: {type(error).__name__}: {error}")
