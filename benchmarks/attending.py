"""One token of a model of attention layers with grouped heads, behind a long cache.

The limit is the same model whose attention returns at once: what is left are matrix products, norms
and the cache. A dynamic cache copies all keys and values for each token, a static one does not.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from table import Table, at_least
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    StaticCache,
)
from transformers.masking_utils import sdpa_mask

from trilby.transformers.packed import cache_of  # its package makes "trilby" known

SIZES: dict[str, Any] = dict(
    hidden_size=1024, num_hidden_layers=8, intermediate_size=2048, num_attention_heads=32,
    num_key_value_heads=8, head_dim=128, vocab_size=32_000, tie_word_embeddings=True,
)  # fmt: skip
WAYS = ("eager", "sdpa", "trilby", "limit")
CACHED, TOKENS = 8192, 8


def token(quick: bool) -> Table:
    """Rows: a kind of cache each."""
    cached = 64 if quick else CACHED
    model = _model(2 if quick else SIZES["num_hidden_layers"])
    made, targets = [], []
    for name, new in CACHES.items():
        seconds = _timed(model, lambda new=new: new(model, cached), 1 if quick else 5)
        took = {way: 1e3 * median(found) for way, found in seconds.items()}
        times = _ratio(seconds, "sdpa", "trilby")
        alone = (took["sdpa"] - took["limit"]) / (took["trilby"] - took["limit"])
        made.append(
            {"cache": name}
            | {f"{way} ms": ms for way, ms in took.items()}
            | {"times sdpa": times, "at the limit": _ratio(seconds, "sdpa", "limit")}
            | {"times in what attention takes": alone}
        )
        targets.append(at_least(f"{name} cache, times as fast as sdpa", 2, times))
    setup = f"Qwen3 of 8 layers, 32 heads on 8, K = V = 128, {cached} cached tokens, float32."
    return Table("One token behind a long cache", setup, made, targets)


def _model(layers: int) -> nn.Module:
    AttentionInterface.register("limit", _nothing)
    AttentionMaskInterface.register("limit", sdpa_mask)
    torch.manual_seed(0)
    config = AutoConfig.for_model("qwen3", **SIZES | dict(num_hidden_layers=layers))
    return AutoModelForCausalLM.from_config(config).float().eval()


def _nothing(_: Any, query: Tensor, *__: Any, **___: Any) -> tuple[Tensor, None]:
    return query.transpose(1, 2).contiguous(), None


def _dynamic(model: Any, cached: int) -> Any:
    return _filled(model, DynamicCache(config=model.config), cached)


def _static(model: Any, cached: int) -> Any:
    cache = StaticCache(config=model.config, max_cache_len=cached + TOKENS + 1)
    return _filled(model, cache, cached)


CACHES: dict[str, Callable[[Any, int], Any]] = {"dynamic": _dynamic, "static": _static}


def _filled(model: Any, cache: Any, cached: int) -> Any:
    """With random keys and values, which take a prefill of minutes otherwise."""
    rng = torch.Generator().manual_seed(0)
    sizes = 1, model.config.num_key_value_heads, cached, model.config.head_dim
    for layer in range(model.config.num_hidden_layers):
        cache.update(*(torch.randn(sizes, generator=rng) for _ in "kv"), layer)
    return cache


@torch.no_grad()
def _timed(model: Any, new: Callable[[], Any], rounds: int) -> dict[str, list[float]]:
    """Seconds of a token of each way, in turn; the results of all but the limit agree."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    first: dict[str, Tensor] = {}
    for turn in range(rounds + 1):
        for way, found in seconds.items():
            model.set_attn_implementation(way)
            cache, took = new(), []
            for i in range(TOKENS):
                begin = time.perf_counter()
                y = _next(model, cache, 5 + i)
                took.append(time.perf_counter() - begin)
                first.setdefault(way, y)
            if turn:
                found.append(median(took[1:]))
    for way in ("eager", "trilby"):
        torch.testing.assert_close(first[way], first["sdpa"], rtol=1e-3, atol=1e-3)
    return seconds


def _next(model: Any, cache: Any, token: int) -> Tensor:
    ids = torch.tensor([[token]])
    went = model(input_ids=ids, use_cache=True, **{_name(model): cache})
    assert cache_of(model, went)
    return went.logits


def _name(model: Any) -> str:
    """What the release calls the argument for a cache."""
    from inspect import signature

    return next(n for n in ("cache", "past_key_values") if n in signature(model.forward).parameters)


def _ratio(seconds: dict[str, list[float]], one: str, other: str) -> float:
    return median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))
