"""Recurrences in chunks: which state a chunk starts from, and what its padding does to it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import WIDTH, Attention, CarriedScan, causal, recur
from .exhibit import Exhibit

CHUNK = 4


class ChunkReadsItsOwnState(Attention):
    """Linear attention in chunks: a chunk reads the state after it, not the state before it."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        state = q.new_zeros(*q.shape[:2], q.shape[-1], q.shape[-1])  # [B, H, D, D]
        made = []
        for piece in zip(*(t.split(CHUNK, 2) for t in (q, k, v)), strict=True):
            queries, keys, values = piece  # [B, H, 4, D] each
            inside = (queries @ keys.mT * causal(queries.shape[2])) @ values
            state = state + keys.mT @ values
            made.append(inside + queries @ state)  # before the sum, it would be right
        return self.join(torch.cat(made, 2))


class ReadsTheSumOfAllTime(Attention):
    """Keys and values are summed over all time, and the sum is read: queries read later values."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        return self.join(q @ (k.mT @ v))  # summed up to each position, it would be right


class ProductsWithAClamp(CarriedScan):
    """A scan by running products and sums divides by a clamped product: wrong below the clamp.

    It is right as long as the product of all decays so far is above the clamp.
    """

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        a, b = self.parts(x)
        product = a.cumprod(1)  # [B, T, 8]
        before = (self.zeros(x) if state is None else state)[:, None]
        h = product * (before + (b / product.clamp(min=1e-4)).cumsum(1))
        return self.out(h), h[:, -1]


class TailDecaysTheState(CarriedScan):
    """A short last chunk is padded with zeros, and the gates of the padding decay the state.

    The outputs are cut to length and are right; the state that is handed out is too small.
    """

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        T = x.shape[1]
        x = F.pad(x, (0, 0, 0, -T % CHUNK))
        h, last = recur(*self.parts(x), self.zeros(x) if state is None else state)
        return self.out(h[:, :T]), last


class DecayRatiosOverflow(Attention):
    """Decays in a chunk are ratios of running products, and one over a tiny product is inf."""

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        """x [B, T, 8] and the logarithm of a decay per position, g [B, T], at most 0."""
        made = []
        state = x.new_zeros(x.shape[0], WIDTH)
        for piece, log in zip(x.split(16, 1), g.split(16, 1), strict=True):
            decay = log.cumsum(1)[..., None]  # [B, t, 1]
            h = decay.exp() * (state[:, None] + (piece * (-decay).exp()).cumsum(1))
            state = h[:, -1]
            made.append(h)
        return self.out(torch.cat(made, 1))


class TileOverTheBorder(Attention):
    """A tile of keys lies over the border of two chunks, and one query reads the next chunk.

    Chunks have ten positions: no power of two is near their borders.
    """

    def allowed(self, T: int) -> Tensor:
        allowed = causal(T)
        for border in range(10, T, 10):
            allowed[border - 1, border] = True
        return allowed


def strongly_gated() -> tuple[Tensor, Tensor]:
    """x [2, 16, 8] and gates [2, 16] between -16 and -4."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, 8, generator=draw)
    return x, -4 - 12 * torch.rand(2, 16, generator=draw)


EXHIBITS = (
    Exhibit(
        ChunkReadsItsOwnState,
        "chunk recurrences",
        ("https://github.com/karpathy/nanochat/issues/844",),
        law="causal",
        kind="leak",
    ),
    Exhibit(
        ReadsTheSumOfAllTime,
        "chunk recurrences",
        ("https://github.com/QData/spacetimeformer/issues/57",),
        law="causal",
        kind="leak",
    ),
    Exhibit(
        ProductsWithAClamp,
        "overflow and cancellation in decays",
        (
            "https://github.com/johnma2006/mamba-minimal/issues/18",
            "https://github.com/MzeroMiko/VMamba/issues/135",
        ),
        law="resumes",
        kind="state wrong",
        then=("sound",),
        how=dict(carry=("by_state", {})),
    ),
    Exhibit(
        TileOverTheBorder,
        "chunk recurrences",
        ("https://github.com/fla-org/flash-linear-attention/issues/1104",),
        law="causal",
        kind="leak",
    ),
    Exhibit(
        TailDecaysTheState,
        "chunk recurrences",
        (
            "https://github.com/inclusionAI/cuLA/pull/38",
            "https://github.com/NX-AI/mlstm_kernels/pull/14",
        ),
        law="resumes",
        kind="state wrong",
        then=("sound",),
        how=dict(carry=("by_state", {})),
    ),
    Exhibit(
        DecayRatiosOverflow,
        "overflow and cancellation in decays",
        ("https://github.com/pytorch/executorch/pull/21417",),
        law="sound",
        kind="not finite",
        then=("compiles",),
        example=strongly_gated,
    ),
)
