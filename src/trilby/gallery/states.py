"""States that are lost, stale, counted twice, or incomplete."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .blocks import Attention, CarriedScan, Convolution, Scan, causal, recur
from .exhibit import Exhibit


class StateLostInChunks(CarriedScan):
    """The incoming state is used for calls of one position only, and ignored for several."""

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return super().forward(x, state if x.shape[1] == 1 else None)


class StateStale(CarriedScan):
    """The incoming state is returned unchanged."""

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, last = super().forward(x, state)
        return y, last if state is None else state


class StateDouble(Attention):
    """A chunk is recomputed for the backward pass, and is added to the state twice."""

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        q, k, v = self.heads(x)
        past = q.new_zeros(*q.shape[:2], q.shape[-1], q.shape[-1]) if state is None else state
        y = (q @ k.mT * causal(q.shape[2])) @ v + q @ past
        return self.join(y), past + 2 * k.mT @ v  # once when run, once when recomputed


class NormaliserForgets(Attention):
    """Linear attention keeps the sum of keys and values, but not the keys of its denominator."""

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        q, k, v = self.heads(x)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        past = q.new_zeros(*q.shape[:2], q.shape[-1], q.shape[-1]) if state is None else state
        weights = q @ k.mT * causal(q.shape[2])  # [B, H, T, T]
        total = (q * k.cumsum(2)).sum(-1, keepdim=True)  # without the keys of earlier calls
        return self.join((weights @ v + q @ past) / total), past + k.mT @ v


class ConvolutionForgets(Scan):
    """The state of the scan is kept, but the short convolution before it starts from zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.short = Convolution()

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, last = recur(
            *self.parts(self.short(x)),
            self.zeros(x) if state is None else state,
        )
        return self.out(h), last


FAMILY = "lost, stale or skewed states"
STATE: dict[str, Any] = dict(carry=("by_state", {}))
EXHIBITS = (
    Exhibit(
        StateLostInChunks,
        FAMILY,
        (
            "https://github.com/huggingface/transformers/pull/46741",
            "https://github.com/huggingface/transformers/pull/45513",
        ),
        law="resumes",
        kind="state lost",
        then=("sound",),
        how=STATE,
    ),
    Exhibit(
        StateStale,
        FAMILY,
        ("https://github.com/Denys88/rl_games/issues/316",),
        law="resumes",
        kind="state stale",
        then=("sound",),
        how=STATE,
    ),
    Exhibit(
        StateDouble,
        FAMILY,
        (
            "https://github.com/huggingface/transformers/issues/28056",
            "https://github.com/huggingface/transformers/pull/46572",
        ),
        law="resumes",
        kind="state double",
        then=("sound",),
        how=STATE,
    ),
    Exhibit(
        NormaliserForgets,
        FAMILY,
        ("https://github.com/fla-org/flash-linear-attention/pull/267",),
        law="resumes",
        kind="state wrong",
        then=("sound",),
        how=STATE,
    ),
    Exhibit(
        ConvolutionForgets,
        FAMILY,
        (
            "https://github.com/huggingface/transformers/pull/46084",
            "https://github.com/state-spaces/mamba/issues/641",
        ),
        law="resumes",
        kind="state wrong",
        then=("sound",),
        how=STATE,
    ),
)
