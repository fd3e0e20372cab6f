"""Accelerated models of transformers whose sequence is cut along time, compared with one process.

What is here runs on every rank.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

import trilby
from tests.acceleration.models import T, logits, model_of, tokens
from trilby.errors import CallError
from trilby.transformers import accelerate
from trilby.verify.precision.widened import widened

CLOSE = 1e-11
"""Of logits and gradients in float64, relative to the largest: a wrong border is off by 0.1."""
SPLITS = {
    2: ((11, 10), (1, 20)),
    3: ((7, 7, 7), (1, 2, 18), (10, 1, 10)),
}


def made(kind: str) -> Any:
    """A small accelerated model, the same on every rank."""
    model = model_of(kind)
    if hasattr(model.config, "layer_types") and "full_attention" in model.config.layer_types:
        model.set_attn_implementation("trilby")
    assert accelerate(model)
    return model


def computed(model: Any, ids: Tensor, at: slice, sharded: bool) -> dict[str, Tensor]:
    """The logits of some positions, and the gradient of every parameter, by its name."""
    model.zero_grad()
    with widened(model):
        y = logits(model, ids[:, at])
        weight = torch.linspace(-1, 1, y[0, 0].numel() * T, dtype=y.dtype).view(T, -1)[at]
        (y * weight).sum().backward()
    found = {"logits": y.detach()}
    for name, p in model.named_parameters():
        dp = torch.zeros_like(p) if p.grad is None else p.grad.clone()
        if sharded:
            dist.all_reduce(dp)
        found[name] = dp
    return found


def pieces(*kinds: str) -> Iterator[str]:
    """Logits and gradients are those of one process."""
    rank = dist.get_rank()
    for kind in kinds:
        model, ids = made(kind), tokens(B=2)
        want = computed(model, ids, slice(None), False)
        for split in SPLITS[dist.get_world_size()]:
            at = slice(sum(split[:rank]), sum(split[: rank + 1]))
            with trilby.sharded(dist.group.WORLD):
                got = computed(model, ids, at, True)
            for name, x in want.items():
                x = x[:, at] if name == "logits" else x
                off = float((got[name] - x).abs().max()) if x.numel() else 0.0
                if not off <= CLOSE * max(1.0, float(want[name].abs().max())):
                    yield f"{kind} {split}: {name} is off by {off:.2g}"


def refusals() -> Iterator[str]:
    """What is not sharded is one line on every rank, before anything is exchanged."""
    model, ids = made("qwen3_next"), tokens()
    ones, alone = torch.ones_like(ids), model_of("qwen3_next")
    other, eager = model_of("mamba"), model_of("qwen3_next")
    accelerate(other)
    accelerate(eager)
    alone.set_attn_implementation("trilby")
    again = torch.arange(T)[None] % 9
    calls: dict[str, Callable[[], Any]] = {
        "the call has a cache, which is of one piece; pass use_cache=False": (
            lambda: model(input_ids=ids)
        ),
        "attention_mask has padding": (
            lambda: logits(model, ids, attention_mask=ones.index_fill(1, torch.tensor([0]), 0))
        ),
        "labels is given": lambda: logits(model, ids, labels=ids),
        "sequences are packed": lambda: logits(model, ids, position_ids=again),
        "its type is mamba, and only mamba2": lambda: logits(other, ids),
        "its attention is 'sdpa', which sees one piece": lambda: logits(eager, ids),
        "a model has to be accelerated": lambda: logits(alone, ids),
        "rank 1 has no positions": lambda: logits(model, ids[:, : T * (dist.get_rank() != 1)]),
        "its type is unknown": lambda: model.model.layers[0].linear_attn(torch.ones(1, 2, 8)),
    }
    for told, call in calls.items():
        try:
            with trilby.sharded(dist.group.WORLD):
                call()
        except CallError as error:
            if told not in str(error) or "\n" in str(error):
                yield f"{told}: {error}"
        else:
            yield f"{told}: no error"
    with trilby.sharded(dist.group.WORLD):
        whole = logits(model, ids, attention_mask=ones)
    if whole.shape[:2] != ids.shape:
        yield "a mask of ones is refused"


def complaints(*kinds: str) -> list[str]:
    """What is wrong on this rank."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [*pieces(*kinds), *refusals()]
