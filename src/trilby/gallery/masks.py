"""Masks that are off by one, too wide, not -inf, or that mask a whole row."""

import math

import torch
from torch import Tensor

from .blocks import WIDTH, Attention, causal
from .exhibit import Exhibit

WINDOW = 4


class TriangleOneTooWide(Attention):
    """The causal mask is one diagonal too wide, so each position reads the next."""

    def allowed(self, T: int) -> Tensor:
        return torch.ones(T, T, dtype=torch.bool).tril(1)


class WindowReachesAhead(Attention):
    """A window of four positions to the left reaches four to the right as well."""

    def allowed(self, T: int) -> Tensor:
        at = torch.arange(T)
        return (at[:, None] - at).abs() < WINDOW


class LookaheadAddsUp(Attention):
    """Each of two layers may look one position ahead, so both together look two ahead."""

    def allowed(self, T: int) -> Tensor:
        return torch.ones(T, T, dtype=torch.bool).tril(1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + super().forward(x))


class MaskByLargeNumber(Attention):
    """Masked scores are -10000, and a trained model has allowed scores that are lower still.

    The weights are as large as training made them in the report, where scores of -16000 were seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.qkv.weight.data[: 2 * WIDTH] *= 200  # queries and keys

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        scores = torch.where(causal(x.shape[1]), scores, -1e4)
        return self.join(scores.softmax(-1) @ v)


class FullyMaskedRows(Attention):
    """A padding row masks every key, and a softmax over nothing is NaN."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.heads(x)
        allowed = causal(x.shape[1])
        if mask is not None:
            allowed = allowed & mask.bool()[:, None, None, :]
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        return self.join(scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v)


def additive(allowed: Tensor, like: Tensor) -> Tensor:
    """0 where allowed, elsewhere the least finite number of a dtype."""
    return like.new_zeros(allowed.shape).masked_fill(~allowed, torch.finfo(like.dtype).min)


class TwoMasksAdded(Attention):
    """Two masks of the most negative number are added, and the sum is -inf."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.heads(x)
        scores = q @ k.mT / math.sqrt(q.shape[-1]) + additive(causal(x.shape[1]), x)
        if mask is not None:
            real = mask.bool()[:, None, None, :]  # [B, 1, 1, T]
            scores = scores + additive(real, x) + additive(real.mT, x)  # keys, and queries
        return self.join(scores.softmax(-1) @ v)


EXHIBITS = (
    Exhibit(
        TriangleOneTooWide,
        "off-by-one masks and windows",
        ("https://github.com/flashinfer-ai/flashinfer/pull/348",),
        law="causal",
        kind="leak",
    ),
    Exhibit(
        WindowReachesAhead,
        "off-by-one masks and windows",
        ("https://github.com/huggingface/transformers/issues/39408",),
        law="causal",
        kind="leak",
    ),
    Exhibit(
        LookaheadAddsUp,
        "off-by-one masks and windows",
        (
            "https://github.com/hirofumi0810/neural_sp/pull/121",
            "https://github.com/hirofumi0810/neural_sp/pull/243",
        ),
        law="causal",
        kind="leak",
        how=dict(lookahead=1),
    ),
    Exhibit(
        MaskByLargeNumber,
        "masks by large numbers",
        (
            "https://github.com/huggingface/transformers/issues/15199",
            "https://github.com/karpathy/minGPT/issues/75",
        ),
        law="causal",
        kind="leak",
        then=("sound",),
    ),
    Exhibit(
        FullyMaskedRows,
        "fully masked rows",
        (
            "https://github.com/pytorch/pytorch/issues/41508",
            "https://github.com/tracel-ai/burn/issues/4694",
        ),
        law="padding",
        kind="not finite",
        how=dict(padding="mask"),
    ),
    Exhibit(
        TwoMasksAdded,
        "masks by large numbers",
        (
            "https://github.com/NVIDIA-NeMo/Automodel/pull/2658",
            "https://github.com/EleutherAI/gpt-neox/pull/25",
        ),
        law="padding",
        kind="not finite",
        how=dict(padding="mask"),
    ),
)
