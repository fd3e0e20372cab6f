"""Faults that float64 hides: counters and positions in half precision, cancellation, overflow."""

import math

import torch
from torch import Tensor, nn

from .blocks import WIDTH, Attention, causal
from .exhibit import Exhibit

CAP = 50.0  # of attention scores


class VarianceByCancellation(nn.Module):
    """A cumulative norm computes the variance as E[xx] - E[x]E[x], which loses all digits."""

    def forward(self, x: Tensor) -> Tensor:
        n = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        mean = x.cumsum(1) / n
        variance = (x * x).cumsum(1) / n - mean * mean
        return (x - mean) * torch.rsqrt(variance.clamp_min(0) + 1e-2)


class PositionsInHalf(nn.Module):
    """Positions are counted in the model's dtype; in bfloat16, 256 and 257 are the same."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        at = torch.arange(x.shape[1]).to(x.dtype)[:, None]
        return self.out(x + torch.cat([at.sin(), at.cos()], -1).repeat(1, WIDTH // 2))


class CounterInHalf(nn.Module):
    """A running mean counts in the model's dtype; in bfloat16, 256 + 1 is 256."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.to(torch.promote_types(x.dtype, torch.float32)).cumsum(1)
        count, counts = torch.zeros((), dtype=x.dtype), []
        for _ in range(x.shape[1]):
            count = count + 1
            counts.append(count)
        return (total / torch.stack(counts)[:, None]).to(x.dtype)


class ExpWithoutTheMaximum(Attention):
    """The softmax does not subtract the maximum, and exp(12) overflows in float16."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv.weight.data[: 2 * WIDTH] *= 8  # queries and keys of a trained, sharper model

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~causal(x.shape[1]), -torch.inf).exp()
        return self.join(weights @ v / weights.sum(-1, keepdim=True))


class CappedByExponentials(Attention):
    """Scores are capped by a tanh made of exponentials: inf over inf, but only for large scores."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        twice = torch.exp(2 / CAP * (q @ k.mT))
        scores = CAP * (twice - 1) / (twice + 1)
        return self.join(scores.masked_fill(~causal(x.shape[1]), -torch.inf).softmax(-1) @ v)


def far_from_zero() -> Tensor:
    """[2, 16, 8] of unit variance around 100."""
    return 100 + torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))


def long() -> Tensor:
    """[1, 320, 8] around 1: longer than bfloat16 counts."""
    return 1 + torch.randn(1, 320, 8, generator=torch.Generator().manual_seed(0))


EXHIBITS = (
    Exhibit(
        VarianceByCancellation,
        "overflow and cancellation in decays",
        (
            "https://github.com/k2-fsa/sherpa-onnx/pull/3857",
            "https://github.com/tenstorrent/tt-metal/issues/45968",
        ),
        law="sound",
        kind="unsound",
        example=far_from_zero,
    ),
    Exhibit(
        PositionsInHalf,
        "positions and counters in half precision",
        (
            "https://github.com/nkalyanv99/UNI-D2/pull/6",
            "https://github.com/huggingface/transformers/pull/29285",
        ),
        law="sound",
        kind="unsound",
        example=long,
    ),
    Exhibit(
        CounterInHalf,
        "positions and counters in half precision",
        (
            "https://github.com/pytorch/executorch/pull/20090",
            "https://github.com/jax-ml/ml_dtypes/issues/63",
        ),
        law="sound",
        kind="unsound",
        example=long,
    ),
    Exhibit(
        CappedByExponentials,
        "overflow and cancellation in decays",
        (
            "https://github.com/vllm-project/vllm/issues/56578",
            "https://github.com/AMD-AGI/Primus/pull/1057",
        ),
        law="sound",
        kind="not finite",
    ),
    Exhibit(
        ExpWithoutTheMaximum,
        "overflow and cancellation in decays",
        ("https://github.com/pytorch/executorch/pull/18407",),
        law="sound",
        kind="not finite",
        then=("compiles",),
    ),
)
