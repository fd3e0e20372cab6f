"""Padding that reaches real positions: by position, by recurrence, by another row's mask."""

import torch
from torch import Tensor

from .blocks import HEADS, Attention, Convolution, Scan, attend, beside_pads, causal, clock
from .exhibit import Exhibit


class PositionsCountPads(Attention):
    """Positions are counted from the first column, so padding on the left shifts them."""

    def positions(self, mask: Tensor) -> Tensor:
        """The position of each token: [B, T]."""
        return torch.arange(mask.shape[1]).expand(mask.shape)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        T = x.shape[1]
        real = torch.ones(x.shape[:2]) if mask is None else mask
        q, k, v = self.heads(x + clock(self.positions(real), x))
        return self.join(attend(q, k, v, beside_pads(mask, T)))


class AssumesLeftPadding(PositionsCountPads):
    """Positions are counted back from the last column, which may be padding."""

    def positions(self, mask: Tensor) -> Tensor:
        pads = (mask.shape[1] - mask.long().sum(1))[:, None]
        return (super().positions(mask) - pads).clamp_min(0)


class PadsEnterTheScan(Scan):
    """Padding is zeroed before the short convolution but not after it, so its bias gets in."""

    def __init__(self) -> None:
        super().__init__()
        self.short = Convolution()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            x = x * mask[..., None].to(x.dtype)
        return super().forward(self.short(x))


class MaskOfAnotherRow(Attention):
    """The mask is repeated for the heads in another order than the scores."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (t.flatten(0, 1)[None] for t in self.heads(x))  # [1, B H, T, D]
        allowed = causal(x.shape[1])
        if mask is not None:
            allowed = beside_pads(mask, x.shape[1])[:, 0].repeat(HEADS, 1, 1)  # [H B, T, T]
        y = attend(q, k, v, allowed)[0]
        return self.join(y.unflatten(0, (-1, HEADS)))


FAMILY, MASK = "left and right padding", dict(padding="mask")


class PadsSpoilTheGradient(Attention):
    """The NaN of a row of pads is replaced by zero, but 0 times NaN comes back in its gradient."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.heads(x)
        allowed = causal(x.shape[1])
        if mask is not None:
            allowed = allowed & mask.bool()[:, None, None, :]
        y = attend(q, k, v, allowed)
        return self.join(torch.where(y.isnan(), 0.0, y))


EXHIBITS = (
    Exhibit(
        PositionsCountPads,
        FAMILY,
        (
            "https://github.com/ndif-team/nnsight/issues/672",
            "https://github.com/huggingface/transformers/pull/29583",
        ),
        law="padding",
        kind="padding",
        how=MASK,
    ),
    Exhibit(
        AssumesLeftPadding,
        FAMILY,
        ("https://github.com/huggingface/transformers/pull/48161",),
        law="padding",
        kind="padding",
        how=MASK,
    ),
    Exhibit(
        PadsEnterTheScan,
        FAMILY,
        (
            "https://github.com/huggingface/transformers/pull/32677",
            "https://github.com/state-spaces/mamba/issues/66",
        ),
        law="padding",
        kind="padding",
        how=MASK,
    ),
    Exhibit(
        PadsSpoilTheGradient,
        "fully masked rows",
        (
            "https://github.com/pytorch/pytorch/issues/41508",
            "https://github.com/rwth-i6/returnn/issues/576",
        ),
        law="padding",
        kind="not finite",
        how=MASK,
    ),
    Exhibit(
        MaskOfAnotherRow,
        FAMILY,
        (
            "https://github.com/line/lighthouse/pull/77",
            "https://github.com/ArrowLuo/CLIP4Clip/issues/22",
        ),
        law="padding",
        kind="padding",
        how=MASK,
    ),
)
