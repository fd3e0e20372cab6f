"""What the scripts beside it share: random weights, a cache under any name, and the noise.

Uses torch and transformers alone. Everything runs in float64, on a CPU, offline.
"""

import inspect
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
NAMES = ("cache", "past_key_values", "cache_params", "state")


def seeded(cls, config):
    """A model with weights under which everything matters, in float64 and eval mode."""
    torch.manual_seed(0)
    model = cls(config).eval().double()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            drawn = torch.randn(weight.shape, generator=draws, dtype=torch.float64)
            if weight.dim() < 2:
                weight.add_(0.2 * drawn)
            else:
                weight.copy_(drawn / (1 if "embed" in name else weight.shape[-1]) ** 0.5)
    return model


def tokens(batch, length, seed=1):
    """Token ids [batch, length], none of them special."""
    return torch.randint(5, 60, (batch, length), generator=torch.Generator().manual_seed(seed))


def logits(model, ids, **how):
    """One pass without a cache."""
    takes = inspect.signature(model.forward).parameters
    loose = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    plain = {"use_cache": False} if "use_cache" in takes or loose else {}
    with torch.no_grad():
        return model(input_ids=ids, **(plain | how)).logits


def pieces(model, ids, lengths, counted=False, **how):
    """The same tokens call after call, joined by the cache; counted: with `position_ids`."""
    takes = inspect.signature(model.forward).parameters
    name = next(n for n in NAMES if n in takes)
    past, at, parts = None, 0, []
    with torch.no_grad():
        for n in lengths:
            given = {name: past, "use_cache": True, **how}
            if "cache_position" in takes:  # older releases want to be told
                given["cache_position"] = torch.arange(at, at + n)
            if counted:
                given["position_ids"] = torch.arange(at, at + n)[None]
            went = model(input_ids=ids[:, at : at + n], **given)
            past, at = getattr(went, name), at + n
            parts.append(went.logits)
    return torch.cat(parts, 1)


def generated(model, ids, more=5, **how):
    """Greedy generation: the whole sequences, and the logits of what was written."""
    wrote = model.generate(
        ids, max_new_tokens=more, min_new_tokens=more, do_sample=False, output_logits=True,
        return_dict_in_generate=True, **how,
    )  # fmt: skip
    return wrote.sequences, torch.stack(list(wrote.logits), 1).double()


def noise(call, model):
    """The largest change of a result when every weight moves by one unit of float32 rounding."""
    plain, kept = call(), [w.detach().clone() for w in model.parameters()]
    draws = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight, was in zip(model.parameters(), kept, strict=True):
            sign = torch.randint(0, 2, was.shape, generator=draws).to(was) * 2 - 1
            weight.copy_(was * (1 + sign * 2**-24))
        change = (call() - plain).abs().max().item()
        for weight, was in zip(model.parameters(), kept, strict=True):
            weight.copy_(was)
    return change


def tell(what, got, want, floor):
    """One line: how far apart, of what size, and what rounding to float32 would do."""
    off, size = (got - want).abs().max().item(), want.abs().max().item()
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    print(f"{what}: off by {off:.2g} of {size:.2g}, noise {floor:.0e}  ({versions})")
