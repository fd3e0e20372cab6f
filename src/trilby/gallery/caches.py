"""Caches that lose the position, the alignment, or a key."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import Attention, CachedAttention, Keys, attend, causal, clock
from .exhibit import Exhibit

WINDOW = 4


class PositionsRestart(CachedAttention):
    """With a cache the positions of new tokens are counted from zero again."""

    def forward(self, x: Tensor, cache: Keys | None = None) -> Tensor:
        return super().forward(x + clock(torch.arange(x.shape[1]), x), cache)


class TopLeftTriangle(CachedAttention):
    """The causal mask is aligned top left, so the first new query reads only the first key."""

    def forward(self, x: Tensor, cache: Keys | None = None) -> Tensor:
        q, k, v = self.heads(x)
        if cache is not None:
            k, v = cache.add(k, v)
        return self.join(F.scaled_dot_product_attention(q, k, v, is_causal=True))


class WindowKeys(Keys):
    """A cache of the last few keys.

    Attributes:
        size: how many stay after a call.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def add(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """What was kept and what is new; afterwards the last `size` are kept."""
        k, v = super().add(k, v)
        self.kept = k[:, :, -self.size :], v[:, :, -self.size :]
        return k, v


class WindowKeepsOneLess(Attention):
    """The window is four, but the cache keeps two of the three keys that the next query reads."""

    def empty(self) -> WindowKeys:
        """A cache before the first position."""
        return WindowKeys(WINDOW - 2)

    def forward(self, x: Tensor, cache: WindowKeys | None = None) -> Tensor:
        q, k, v = self.heads(x)
        if cache is not None:
            k, v = cache.add(k, v)
        T, S = q.shape[2], k.shape[2]
        return self.join(attend(q, k, v, causal(T, S).triu(S - T - WINDOW + 1)))


CACHE = dict(carry=("by_cache", dict(start="empty")))
EXHIBITS = (
    Exhibit(
        PositionsRestart,
        "position and alignment in caches",
        (
            "https://github.com/pytorch/executorch/pull/2010",
            "https://github.com/vllm-project/vllm-metal/pull/144",
        ),
        law="resumes",
        kind="state wrong",
        then=("sound",),
        how=CACHE,
    ),
    Exhibit(
        TopLeftTriangle,
        "position and alignment in caches",
        (
            "https://github.com/pytorch/pytorch/issues/144858",
            "https://github.com/pytorch/pytorch/issues/108108",
        ),
        law="resumes",
        kind="state wrong",
        then=("sound",),
        how=CACHE,
    ),
    Exhibit(
        WindowKeepsOneLess,
        "off-by-one masks and windows",
        ("https://github.com/ml-explore/mlx-lm/pull/390",),
        law="resumes",
        kind="state wrong",
        then=("sound",),
        how=CACHE,
    ),
)
