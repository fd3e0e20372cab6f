"""Small models of the types whose functions can be replaced, and ways to call them."""

import functools

import pytest
import torch
import transformers

from trilby.audit.transformers import make
from trilby.transformers.packed import cache_of
from trilby.verify.precision.widened import widened

FEW = ["qwen3_next", "kimi_linear", "mamba", "mamba2", "zamba", "lfm3"]  # each function of ours
MORE = [
    "qwen3_5_text", "qwen3_5_moe_text", "qwen4_exp", "olmo_hybrid", "lara_mini", "bailing_hybrid",
    "falcon_mamba", "jamba", "bamba", "falcon_h1", "granitemoehybrid", "nemotron_h", "zamba2",
    "lfm2", "lfm2_moe", "inkling_text", "inkling2_text",
]  # fmt: skip
RELEASE = tuple(int(part) for part in transformers.__version__.split(".")[:2])
NARROW = {"inkling2_text"}  # it has parts in float32 that do not run in float64 as they are
SINCE = {"lfm3": (5, 24)}  # the type is older than its use of the decorator
T = 21


def model_of(kind, dtype=torch.float64):
    """One of a type, or a skip where the release of transformers has no such type."""
    if kind not in transformers.CONFIG_MAPPING or SINCE.get(kind, (0, 0)) > RELEASE:
        pytest.skip(f"this release of transformers has no {kind} whose functions can be replaced")
    torch.manual_seed(0)
    made = make(kind, dtype).eval()
    if kind in NARROW:
        forward = made.forward

        @functools.wraps(forward)
        def wide(*args, **kwargs):
            with widened(made):
                return forward(*args, **kwargs)

        made.forward = wide
    return made


def runs(function):
    """What is run in the place of a function: `kernels` sets the forward of an object."""
    return vars(function).get("forward", function)


def tokens(B=1):
    return torch.randint(5, 60, (B, T), generator=torch.Generator().manual_seed(1))


def logits(model, ids, **how):
    return model(input_ids=ids, use_cache=False, **how).logits


def in_pieces(model, ids, pieces, counted=False):
    """The logits of cached calls, one after the other; `counted` gives them their positions."""
    given, outputs, at = {}, [], 0
    for n in pieces:
        how = dict(position_ids=torch.arange(at, at + n)[None]) if counted else {}
        out = model(input_ids=ids[:, at : at + n], use_cache=True, **given, **how)
        given = cache_of(model, out)
        outputs.append(out.logits)
        at += n
    assert given
    return torch.cat(outputs, 1)
