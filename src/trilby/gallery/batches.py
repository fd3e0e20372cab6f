"""Rows that affect each other: the batch axis taken for time, or lost in a batch of one."""

import math

import torch
from torch import Tensor, nn

from .blocks import HEADS, WIDTH, causal
from .exhibit import Exhibit


class BatchTakenForTime(nn.Module):
    """The layer expects time first but gets batch first, so rows attend to earlier rows."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS)  # batch_first=False

    def forward(self, x: Tensor) -> Tensor:
        later = ~causal(x.shape[0])
        return self.attention(x, x, x, attn_mask=later, need_weights=False)[0]


class SqueezedBatch(nn.Module):
    """A bias on keys is squeezed; in a batch of one it broadcasts as a bias on queries."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.favour = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        favour = self.favour(x).squeeze(-1).squeeze(0)  # [B, T], or [T] where B is 1
        scores = q @ k.mT / math.sqrt(WIDTH) + favour[:, None]
        return scores.masked_fill(~causal(x.shape[1]), -torch.inf).softmax(-1) @ v


EXHIBITS = (
    Exhibit(
        BatchTakenForTime,
        "statistics over time or batch",
        (
            "https://github.com/DaoyuanLi2816/Molecule-Generator/pull/22",
            "https://github.com/IBM/TabFormer/pull/14",
            "https://github.com/yxlu-0102/MP-SENet/issues/64",
        ),
        law="isolated",
        kind="neighbour",
    ),
    Exhibit(
        SqueezedBatch,
        "statistics over time or batch",
        (
            "https://github.com/NVIDIA/tacotron2/pull/303",
            "https://github.com/galsang/BiDAF-pytorch/pull/26",
        ),
        law="isolated",
        kind="batch",
    ),
)
