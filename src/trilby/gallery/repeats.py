"""Modules whose second call differs from the first: random, with memory, or reusing memory."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import WIDTH, Attention, Scan, beside_pads, recur
from .exhibit import LAWS, Exhibit, floats


class DropoutNeverOff(Attention):
    """The dropout of attention is given its rate but not the mode, so `eval()` leaves it on."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.1, is_causal=True)
        return self.join(y)


class WritesIntoTheMask(Attention):
    """The padding mask is made additive in place, in the caller's own tensor."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.heads(x)
        allowed = beside_pads(mask, x.shape[1])
        if mask is not None:
            mask.sub_(1).mul_(10000)  # 1 -> 0, 0 -> -10000
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.join(y)


class StateOutlivesTheRequest(Scan):
    """The last state stays in the module, and the next sequence starts from it."""

    state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        old = self.state
        if old is None or old.shape[0] != x.shape[0]:
            old = self.zeros(x)
        h, last = recur(*self.parts(x), old.to(x.dtype))
        self.state = last.detach()
        return self.out(h)


class OutputsShareAPool(nn.Module):
    """Results lie in one static pool of memory, and the next call overwrites them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.pool: dict[torch.dtype, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x).cumsum(1)
        if y.requires_grad:  # a captured graph serves inference only
            return y
        pool = self.pool.get(y.dtype)
        if pool is None or pool.numel() < y.numel():
            pool = self.pool[y.dtype] = y.new_empty(2 * y.numel())
        return pool[: y.numel()].view(y.shape).copy_(y)


def masked() -> dict[str, Any]:
    """Floats and a mask with three pads on the left of the second row."""
    mask = torch.ones(2, 16)
    mask[1, :3] = 0
    return dict(x=floats(), mask=mask)


EXHIBITS = (
    Exhibit(
        DropoutNeverOff,
        "mask on one path only",
        ("https://github.com/karpathy/nanoGPT/pull/240",),
        law="repeats",
        kind="random",
        then=LAWS[1:],
    ),
    Exhibit(
        WritesIntoTheMask,
        "left and right padding",
        ("https://github.com/Shujun-He/RibonanzaNet/issues/7",),
        law="repeats",
        kind="writes to its arguments",
        then=LAWS[1:],
        example=masked,
        how=dict(padding="mask"),
    ),
    Exhibit(
        StateOutlivesTheRequest,
        "lost, stale or skewed states",
        (
            "https://github.com/langchain-ai/langchain/pull/2565",
            "https://github.com/Luce-Org/lucebox/pull/210",
        ),
        law="repeats",
        kind="remembers",
        then=LAWS[1:],
    ),
    Exhibit(
        OutputsShareAPool,
        "lost, stale or skewed states",
        ("https://github.com/pytorch/pytorch/issues/144386",),
        law="repeats",
        kind="overwrites its result",
        then=("compiles",),
    ),
)
