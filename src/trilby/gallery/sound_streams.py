"""Correct streams that look wrong: a state inside the module, an edited cache, a padded prompt."""

import torch
from torch import Tensor

from .blocks import CachedAttention, Keys, Scan, attend, beside_pads, clock, recur
from .exhibit import Exhibit
from .streams import CACHE, PADS, POSITIONS, STATES, EditedKeys


class StateInsideTheModule(Scan):
    """The state stays in the module between calls; each stream begins with a reset."""

    state: Tensor | None = None
    streaming = False

    def start_streaming(self, B: int) -> None:
        """A state of zeros."""
        self.streaming, self.state = True, self.out.weight.new_zeros(B, self.out.in_features)

    def forward(self, x: Tensor) -> Tensor:
        if self.state is None:
            return super().forward(x)
        h, self.state = recur(*self.parts(x), self.state)
        return self.out(h)


class EditedCache(CachedAttention):
    """Keys are cropped, reordered and repeated between calls, and every row continues as it is."""

    def empty(self) -> EditedKeys:
        """A cache before the first position."""
        return EditedKeys()


class PaddedPromptContinues(CachedAttention):
    """With padding, keys of one column have other positions in each row, counted from the mask."""

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: Keys | None = None) -> Tensor:
        T, S = x.shape[1], x.shape[1] + (0 if cache is None else len(cache))
        real = torch.ones(len(x), S) if mask is None else mask
        places = (real.long().cumsum(1) - 1).clamp_min(0)[:, S - T :]
        q, k, v = self.heads(x + clock(places, x))
        if cache is not None:
            k, v = cache.add(k, v)
        return self.join(attend(q, k, v, beside_pads(mask, S)[..., S - T :, :]))


EXHIBITS = (
    Exhibit(
        StateInsideTheModule,
        STATES,
        ("https://github.com/kyutai-labs/moshi/pull/411",),
        how=dict(carry=("by_module", dict(reset="start_streaming"))),
    ),
    Exhibit(
        EditedCache,
        POSITIONS,
        ("https://github.com/ml-explore/mlx-lm/pull/1486",),
        how=CACHE,
    ),
    Exhibit(
        PaddedPromptContinues,
        PADS,
        ("https://github.com/unslothai/unsloth/pull/3803",),
        how=CACHE | dict(padding="mask"),
    ),
)
