"""Streams that lose something: a reset, a rollback, beams, a chunk, a padded prompt."""

from typing import Any

import torch
from torch import Tensor

from .blocks import (
    TAPS,
    WIDTH,
    CachedAttention,
    CarriedScan,
    Convolution,
    Keys,
    attend,
    beside_pads,
    causal,
    recur,
)
from .exhibit import Exhibit


class ResetForgetsTheWindow(Convolution):
    """Streaming is started anew, but the window of the convolution is that of the last stream."""

    streaming, window = False, None

    def start_streaming(self) -> None:
        """Everything but the window."""
        self.streaming = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.streaming:
            return super().forward(x)
        past = x.new_zeros(len(x), TAPS - 1, WIDTH) if self.window is None else self.window
        x = torch.cat([past, x], 1)
        self.window = x[:, 1 - TAPS :]
        return self.out(self.taps(x.mT).mT)


class ChunkStartsFromZeros(Convolution):
    """Each chunk of four positions is padded with zeros again, instead of with the one before."""

    def init_state(self, B: int) -> Tensor:
        """A window before the first position."""
        return self.out.weight.new_zeros(B, TAPS - 1, WIDTH)

    def chunk(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Four positions, and the window after them."""
        return self(x), torch.cat([state, x], 1)[:, 1 - TAPS :]


class WindowOfOutputs(Convolution):
    """The prefill keeps what comes out of the convolution, and a step needs what goes in."""

    def init_state(self, B: int) -> Tensor:
        """A window before the first position."""
        return self.out.weight.new_zeros(B, TAPS - 1, WIDTH)

    def prefill(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Several positions."""
        y = self.taps(torch.cat([state, x], 1).mT).mT
        return self.out(y), torch.cat([state, y], 1)[:, 1 - TAPS :]

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One position, with the axis of time: [B, 1, 8]."""
        x = torch.cat([state, x], 1)
        return self.out(self.taps(x.mT).mT), x[:, 1:]


class EditedKeys(Keys):
    """A cache that can be rolled back, and whose rows can be chosen."""

    def change(self, way: Any) -> None:
        """Replace the keys and the values."""
        if self.kept is not None:
            self.kept = way(self.kept[0]), way(self.kept[1])

    def crop(self, n: int) -> None:
        """Keep the first n positions."""
        self.change(lambda t: t[:, :, :n])

    def reorder_cache(self, rows: Tensor) -> None:
        """Row i becomes what row `rows[i]` was."""
        self.change(lambda t: t[rows])

    def batch_repeat_interleave(self, n: int) -> None:
        """Each row n times."""
        self.change(lambda t: t.repeat_interleave(n, 0))


class RollsBackTheWrongEnd(CachedAttention):
    """Rejected tokens are rolled back, and the cache keeps the newest keys, not the oldest."""

    class Keys(EditedKeys):
        """A ring that is cut at the wrong place."""

        def crop(self, n: int) -> None:
            """Keep n positions."""
            self.change(lambda t: t[:, :, -n:])

    def empty(self) -> Keys:
        """A cache before the first position."""
        return self.Keys()


class BeamsSwapKeysOnly(CachedAttention):
    """Beam search reorders the keys of the cache, and the values stay where they were."""

    class Keys(EditedKeys):
        """A cache with a part that is forgotten."""

        def reorder_cache(self, rows: Tensor) -> None:
            """Row i becomes what row `rows[i]` was."""
            if self.kept is not None:
                self.kept = self.kept[0][rows], self.kept[1]

    def empty(self) -> Keys:
        """A cache before the first position."""
        return self.Keys()


class MaskOfThePromptOnly(CachedAttention):
    """The padding mask is used for the prompt, and single tokens after it read the padding."""

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: Keys | None = None) -> Tensor:
        q, k, v = self.heads(x)
        if cache is not None:
            k, v = cache.add(k, v)
        T, S = q.shape[2], k.shape[2]
        allowed = beside_pads(mask, S)[..., S - T :, :] if T > 1 else causal(T, S)
        return self.join(attend(q, k, v, allowed))


class PadsDecayTheState(CarriedScan):
    """Padding adds nothing to the state, but the state decays over padding on the right."""

    def forward(
        self, x: Tensor, state: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        a, b = self.parts(x)
        if mask is not None:
            b = b * mask[:, -x.shape[1] :, None].to(b.dtype)
        h, last = recur(a, b, self.zeros(x) if state is None else state)
        return self.out(h), last


CACHE = dict(carry=("by_cache", dict(start="empty")))
CHUNK = dict(step=None, chunk="chunk", exactly=4)
POSITIONS, STATES = "position and alignment in caches", "lost, stale or skewed states"
PADS = "left and right padding"
EXHIBITS = (
    Exhibit(
        ResetForgetsTheWindow,
        STATES,
        ("https://github.com/kyutai-labs/moshi/pull/411",),
        law="resumes",
        kind="state not emptied",
        how=dict(carry=("by_module", dict(reset="start_streaming"))),
    ),
    Exhibit(
        ChunkStartsFromZeros,
        "chunk recurrences",
        ("https://github.com/0xShug0/audio.cpp/issues/620",),
        law="resumes",
        kind="state lost",
        then=("sound",),
        how=dict(carry=("by_methods", CHUNK)),
    ),
    Exhibit(
        WindowOfOutputs,
        STATES,
        ("https://github.com/state-spaces/mamba/pull/1027",),
        law="resumes",
        kind="state wrong",
        then=("sound",),
        how=dict(carry=("by_methods", dict(chunk="prefill", keep_time=True))),
    ),
    Exhibit(
        RollsBackTheWrongEnd,
        POSITIONS,
        ("https://github.com/ml-explore/mlx-swift-lm/pull/584",),
        law="resumes",
        kind="crop wrong",
        how=CACHE,
    ),
    Exhibit(
        BeamsSwapKeysOnly,
        POSITIONS,
        ("https://github.com/huggingface/transformers/issues/46612",),
        law="resumes",
        kind="rows wrong",
        how=CACHE,
    ),
    Exhibit(
        MaskOfThePromptOnly,
        PADS,
        ("https://github.com/ml-explore/mlx-lm/issues/1906",),
        law="padding",
        kind="padding in a stream",
        how=CACHE | dict(padding="mask"),
    ),
    Exhibit(
        PadsDecayTheState,
        PADS,
        ("https://github.com/huggingface/transformers/issues/48256",),
        law="padding",
        kind="padding in a stream",
        how=dict(carry=("by_state", {}), padding="mask"),
    ),
)
