"""x-transformers with `shift_tokens`: the cache keeps no token to shift in."""

import torch
from small import noise
from x_transformers import Decoder, TransformerWrapper

torch.manual_seed(0)
for shifts in (0, 1):
    layers = Decoder(dim=32, depth=2, heads=4, attn_dim_head=8, shift_tokens=shifts)
    model = TransformerWrapper(num_tokens=64, max_seq_len=128, attn_layers=layers).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, weight.shape[-1] ** -0.5)
        ids, cache, parts = torch.randint(0, 64, (1, 8)), None, []
        whole = model(ids)
        for t in range(8):
            how = dict(cache=cache, input_not_include_cache=True, return_intermediates=True)
            logits, cache = model(ids[:, t : t + 1], **how)
            parts.append(logits)
        off, size = (torch.cat(parts, 1) - whole).abs().max().item(), whole.abs().max().item()
        floor = noise(lambda model=model, ids=ids: model(ids), model)
    print(
        f"shift_tokens={shifts}, one at a time: off by {off:.2g} of {size:.2g}, noise {floor:.0e}"
    )
