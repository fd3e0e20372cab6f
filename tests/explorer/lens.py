"""What TransformerLens computes of a checkpoint: run by the Python that has it, beside no trilby.

python lens.py FOLDER OUT   # FOLDER holds a model, a tokenizer and ids.safetensors
"""

import sys


def main(folder: str, out: str) -> None:
    """Write the weights of each layer; imports what only that Python has."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.float32)
    _, cache = bridge.run_with_cache(load_file(f"{folder}/ids.safetensors")["ids"])
    found = {}
    for number, block in enumerate(bridge.blocks):
        pattern = f"blocks.{number}.attn.hook_pattern"
        if pattern in cache:
            found[str(number)] = cache[pattern][0]
        else:
            wei = block.mixer.compute_effective_attention(cache, number, include_dt_scaling=True)
            found[str(number)] = wei[0]
    save_file({name: wei.detach().contiguous() for name, wei in found.items()}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
