"""Statistics over time or over the batch, and ways in which they stay hidden."""

import torch
from torch import Tensor, nn

from .blocks import HEADS, WIDTH, Attention, Scan, attend, causal, rotated
from .exhibit import Exhibit

BLOCK, TRAINED = 4, 6


class NormOverTime(Scan):
    """Group normalisation of [B, C, T] computes mean and variance over time as well."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x.mT).mT)


class BatchStatistics(Scan):
    """A batch norm without running statistics uses those of the batch, in evaluation too."""

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = x.mean((0, 1)), x.var((0, 1), correction=0)
        return super().forward((x - mean) * torch.rsqrt(variance + 1e-5))


class OneScaleForTheSequence(Scan):
    """Activations are rounded to 8 bits with one scale for the whole sequence: its maximum."""

    def forward(self, x: Tensor) -> Tensor:
        scale = x.detach().abs().amax((1, 2), keepdim=True) / 127 + 1e-9
        return super().forward((x / scale).round() * scale)


class HiddenByAZeroGate(Scan):
    """A mean over all time is added through a gate that is zero until it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.share * x.mean(1, keepdim=True)


class BlockSummary(Attention):
    """The mean of a block of four positions is given to all of them, the first included."""

    def forward(self, x: Tensor) -> Tensor:
        blocks = [block.mean(1, keepdim=True).expand_as(block) for block in x.split(BLOCK, 1)]
        return super().forward(x + torch.cat(blocks, 1))


class DynamicScaling(Attention):
    """Beyond the trained length, rotary frequencies depend on the length of the whole input."""

    def forward(self, x: Tensor) -> Tensor:
        T, pairs = x.shape[1], WIDTH // HEADS // 2
        base = 100.0 * max(1.0, 2 * T / TRAINED - 1)
        rates = base ** -(torch.arange(pairs, dtype=torch.float64) / pairs)
        angles = torch.outer(torch.arange(T, dtype=torch.float64), rates)
        q, k, v = self.heads(x)
        return self.join(attend(rotated(q, angles), rotated(k, angles), v, causal(T)))


FAMILY = "statistics over time or batch"
EXHIBITS = (
    Exhibit(
        NormOverTime,
        FAMILY,
        (
            "https://github.com/Andong-Li-speech/GaGNet/issues/2",
            "https://github.com/RookieJunChen/FullSubNet-plus/issues/5",
        ),
        law="causal",
        kind="leak",
    ),
    Exhibit(
        BatchStatistics,
        FAMILY,
        ("https://github.com/pytorch/pytorch/pull/38084",),
        law="causal",
        kind="leak",
        then=("isolated",),
    ),
    Exhibit(
        OneScaleForTheSequence,
        FAMILY,
        (
            "https://github.com/NVIDIA/TransformerEngine/issues/3248",
            "https://github.com/microsoft/onnxruntime/issues/8625",
        ),
        law="causal",
        kind="leak without gradient",
        then=("differentiates", "sound"),
    ),
    Exhibit(
        HiddenByAZeroGate,
        FAMILY,
        (
            "https://github.com/Shwai-He/MEO/issues/2",
            "https://github.com/lucidrains/performer-pytorch/issues/28",
        ),
        law="causal",
        kind="hidden leak",
    ),
    Exhibit(
        BlockSummary,
        FAMILY,
        ("https://github.com/karpathy/nanochat/issues/844",),
        law="causal",
        kind="leak",
    ),
    Exhibit(
        DynamicScaling,
        "position and alignment in caches",
        (
            "https://github.com/huggingface/transformers/issues/25104",
            "https://github.com/QwenLM/Qwen/issues/401",
        ),
        law="causal",
        kind="length",
    ),
)
