"""Whole models of transformers of real proportions: as they are, accelerated, and at the limit.

The limit is the same model whose functions return at once: what is left are the matrix products,
norms and activations of torch, which nothing here makes faster.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from table import Table, at_least
from torch import Tensor, nn

import trilby.transformers
from trilby.transformers import seam
from trilby.transformers.packed import cache_of

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gated delta": (
        "qwen3_5_text",
        dict(hidden_size=768, num_hidden_layers=12, intermediate_size=2048, num_attention_heads=12,
             num_key_value_heads=4, head_dim=64, linear_num_key_heads=6, linear_num_value_heads=12,
             linear_key_head_dim=128, linear_value_head_dim=128, vocab_size=32_000),
    ),
    "Falcon-H1": (
        "falcon_h1",
        dict(hidden_size=768, num_hidden_layers=12, intermediate_size=2048, num_attention_heads=12,
             num_key_value_heads=4, mamba_d_ssm=1536, mamba_n_heads=24, mamba_d_head=64,
             mamba_d_state=128, mamba_n_groups=1, vocab_size=32_000),
    ),
    "Mamba-2": (
        "mamba2",
        dict(hidden_size=768, num_hidden_layers=24, num_heads=24, head_dim=64, n_groups=1,
             state_size=128, vocab_size=50_280),
    ),
    "Mamba": ("mamba", dict(hidden_size=768, num_hidden_layers=24, vocab_size=50_280)),
    "kda": (
        "kimi_linear",
        dict(hidden_size=768, num_hidden_layers=8, intermediate_size=2048, num_attention_heads=6,
             num_key_value_heads=6, kv_lora_rank=256, mlp_layer_types=["dense"] * 8,
             linear_attn_config=dict(head_dim=128, num_heads=6, short_conv_kernel_size=4,
                                     kda_layers=[1, 2, 3, 5, 6, 7], full_attn_layers=[4, 8]),
             pad_token_id=0, bos_token_id=1, eos_token_id=2,
             vocab_size=32_000),
    ),
}  # fmt: skip
ASKED = {  # work -> family -> how many times as fast as the original
    "prefill": {"gated delta": 1.22, "Falcon-H1": 1.4, "Mamba-2": 2.4, "Mamba": 3, "kda": 5},
    "training": {"gated delta": 1.12, "Falcon-H1": 1.3, "Mamba-2": 2, "Mamba": 4, "kda": 5},
    "token": {"gated delta": 1.07, "Falcon-H1": 1.1, "Mamba-2": 4, "Mamba": 1.15},
}
FEWER = {"Mamba": 6, "kda": 4}  # layers in training: a step of these originals takes minutes
WORK = {
    "prefill": "Prefill of 1,024 tokens.",
    "training": "Forward and backward on 512 tokens, in training mode; one round after another. "
    f"Fewer layers: {', '.join(f'{name} {n}' for name, n in FEWER.items())}.",
    "token": "One token from the cache, after 16 tokens; the median of 12.",
}


def table(quick: bool, work: str) -> Table:
    """Rows: a family each."""
    made, targets = [], []
    for family in FAMILIES:
        few = FEWER.get(family, 4)
        model = built(family, quick or (work == "training" and family in FEWER), few)
        seconds = timed(model, work, 1 if quick or work == "training" else 3)
        original, ours, limit = (median(seconds[way]) for way in seconds)
        times, most = ratio(seconds, "accelerated"), ratio(seconds, "limit")
        made.append(
            {
                "family": family,
                "parameters, millions": sum(p.numel() for p in model.parameters()) / 1e6,
                "original ms": 1e3 * original,
                "accelerated ms": 1e3 * ours,
                "limit ms": 1e3 * limit,
                "times": times,
                "times at the limit": most,
            }
        )
        if family in ASKED[work]:
            what = f"{family}, times as fast as the original"
            targets.append(at_least(what, ASKED[work][family], times))
    return Table(f"Hybrids of transformers, {work}", f"{WORK[work]} float32.", made, targets)


def prefill(quick: bool) -> Table:
    return table(quick, "prefill")


def training(quick: bool) -> Table:
    return table(quick, "training")


def token(quick: bool) -> Table:
    return table(quick, "token")


def built(family: str, quick: bool, layers: int = 4) -> nn.Module:
    """A model with random weights; `quick`: of few layers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, sizes = FAMILIES[family]
    if quick:
        sizes = sizes | dict(num_hidden_layers=layers)
    if quick and family == "kda":
        full = [*range(4, layers, 4), layers]  # every fourth and the last are attention
        rest = [i for i in range(1, layers) if i not in full]
        which = dict(kda_layers=rest, full_attn_layers=full)
        told = sizes["linear_attn_config"] | which
        sizes = sizes | dict(linear_attn_config=told, mlp_layer_types=["dense"] * layers)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes)).float().eval()


def timed(model: nn.Module, work: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, one after the other in each round, after a round untimed."""
    tokens = dict(prefill=1024, training=512, token=29)[work]
    ids = torch.randint(5, 30_000, (1, tokens), generator=torch.Generator().manual_seed(0))
    model.train(work == "training")
    seconds: dict[str, list[float]] = {"original": [], "accelerated": [], "limit": []}
    for turn in range(rounds + 1):
        for way, found in seconds.items():
            if way != "original":
                report = trilby.transformers.accelerate(model)
                if not report:
                    raise SystemExit(f"refused to time: {report}")
            if way == "limit":
                leave_out(model)
            took = run(work)(model, ids)
            if turn:
                found.append(took)
            if way != "original":
                trilby.transformers.restore(model)
    return seconds


def ratio(seconds: dict[str, list[float]], way: str) -> float:
    """The median over the rounds of how many times as fast a way is as the original."""
    return median(a / b for a, b in zip(seconds["original"], seconds[way], strict=True))


def leave_out(model: nn.Module) -> None:
    """In place of every function one that returns at once what has the right shape."""
    for module in {module for _, _, module, _ in seam.calling(model)}:
        names = seam.originals(module)
        seam.put(module, {place: NOTHING[name] for place, name in names.items() if name in NOTHING})


def _rule(_q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    return v, v.new_zeros(v.shape[0], v.shape[2], k.shape[3], v.shape[3])


def _scan(x: Tensor, _dt: Tensor, A: Tensor, *_: Any, **how: Any) -> Any:
    state = x.new_zeros(x.shape[0], x.shape[1], A.shape[1])
    return (x, state) if how.get("return_last_state") else x


def _scan2(x: Tensor, _dt: Tensor, _A: Tensor, B: Tensor, *_: Any, **how: Any) -> Any:
    state = x.new_zeros(x.shape[0], *x.shape[2:], B.shape[3])
    return (x, state) if how.get("return_final_states") else x


NOTHING: dict[str, Callable[..., Any]] = {
    "causal_conv1d_fn": lambda x, *_, **__: x,
    "causal_conv1d_update": lambda x, *_, **__: x,
    "chunk_gated_delta_rule": _rule,
    "fused_recurrent_gated_delta_rule": _rule,
    "chunk_kda": _rule,
    "fused_recurrent_kda": _rule,
    "selective_scan_fn": _scan,
    "mamba_chunk_scan_combined": _scan2,
    "selective_state_update": lambda _, x, *__, **___: x,
}


def run(work: str) -> Callable[[nn.Module, Tensor], float]:
    """What does a kind of work, and returns its seconds."""
    return dict(prefill=_prefill, training=_training, token=_token)[work]


def _prefill(model: nn.Module, ids: Tensor) -> float:
    begin = time.perf_counter()
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    return time.perf_counter() - begin


def _training(model: nn.Module, ids: Tensor) -> float:
    model.zero_grad()
    begin = time.perf_counter()
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return time.perf_counter() - begin


@torch.no_grad()
def _token(model: nn.Module, ids: Tensor) -> float:
    given = cache_of(model, model(input_ids=ids[:, :16], use_cache=True))
    found = []
    for t in range(16, ids.shape[1]):
        begin = time.perf_counter()
        model(input_ids=ids[:, t : t + 1], use_cache=True, **given)
        found.append(time.perf_counter() - begin)
    return median(found[1:])
