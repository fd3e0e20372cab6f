"""Correct, but looks wrong: attention, its masks, caches, pads and documents."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import HEADS, WIDTH, Attention, Keys, attend, beside_pads, causal, clock, rotated
from .caches import CACHE, WINDOW
from .exhibit import Exhibit, tokens
from .numerics import CAP
from .packing import same_document


class ZeroTimesNan(nn.Module):
    """Weights of the future are exactly 0, as in the notebook, and 0 times NaN is NaN."""

    def forward(self, x: Tensor) -> Tensor:
        wei = torch.zeros(x.shape[1], x.shape[1], dtype=x.dtype)
        wei = wei.masked_fill(~causal(x.shape[1]), -torch.inf).softmax(-1)
        return wei @ x


class AdditiveInfMask(Attention):
    """The mask is a float tensor of 0 and -inf that is added to the scores."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        T = x.shape[1]
        mask = torch.zeros(T, T, dtype=x.dtype).masked_fill(~causal(T), -torch.inf)
        return self.join(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


class DropoutInTraining(Attention):
    """In training mode two calls differ, as they should; with one seed they agree."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), 0.1, self.training)


class RotaryInFloat32(Attention):
    """Rotary embeddings are computed in float32 and rounded once, in a model of any dtype."""

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        pairs = WIDTH // HEADS // 2
        rates = 100.0 ** -(torch.arange(pairs, dtype=wide) / pairs)
        angles = torch.outer(torch.arange(x.shape[1], dtype=wide), rates)
        q, k, v = self.heads(x)
        q, k = rotated(q.to(wide), angles), rotated(k.to(wide), angles)
        return self.join(attend(q, k, v.to(wide), causal(x.shape[1])).to(x.dtype))


class GrowingTable(Attention):
    """A table of positions is cached, and computed again for a longer input."""

    table = torch.zeros(0, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        if len(self.table) < T:
            self.table = clock(torch.arange(2 * T), torch.zeros((), dtype=torch.float64))
        return super().forward(x + self.table[:T].to(x.dtype))


class LeftPadsDoneRight(Attention):
    """Positions are counted over real tokens, and every padding position may read itself."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        real = torch.ones(x.shape[:2]) if mask is None else mask
        at = (real.long().cumsum(1) - 1).clamp_min(0)
        q, k, v = self.heads(x + clock(at, x))
        return self.join(attend(q, k, v, beside_pads(mask, x.shape[1])))


class DocumentsDoneRight(Attention):
    """A document begins wherever the position is 0, documents of one token included."""

    def forward(self, x: Tensor, position_ids: Tensor | None = None) -> Tensor:
        at = torch.arange(x.shape[1]).expand(x.shape[:2]) if position_ids is None else position_ids
        q, k, v = self.heads(x + clock(at, x))
        allowed = causal(x.shape[1]) & same_document((at == 0).cumsum(1))
        return self.join(attend(q, k, v, allowed))


class BottomRightCache(Attention):
    """Without a cache `is_causal` is used; with one, a mask that is aligned bottom right."""

    def empty(self) -> Keys:
        """A cache before the first position."""
        return Keys()

    def forward(self, x: Tensor, cache: Keys | None = None) -> Tensor:
        q, k, v = self.heads(x)
        if cache is None:
            return self.join(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        k, v = cache.add(k, v)
        allowed = causal(q.shape[2], k.shape[2])
        return self.join(F.scaled_dot_product_attention(q, k, v, attn_mask=allowed))


class Ring:
    """The last keys and values, each in the slot of its position modulo the window: in no order."""

    def __init__(self) -> None:
        self.seen = 0
        self.kept: tuple[Tensor, Tensor] | None = None

    def turn(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Old keys and values with the new ones behind them, and the position of each: [S]."""
        T, slots = k.shape[2], torch.arange(WINDOW)
        if self.kept is None:
            blank = k.new_zeros(*k.shape[:2], WINDOW, k.shape[3])
            self.kept = blank, blank
        old = (
            self.seen - 1 - (self.seen - 1 - slots) % WINDOW
        )  # the position in each slot; < 0: empty
        k, v = torch.cat([self.kept[0], k], 2), torch.cat([self.kept[1], v], 2)
        at = torch.cat([old, torch.arange(self.seen, self.seen + T)])
        self.seen += T
        last = (
            self.seen - 1 - (self.seen - 1 - slots) % WINDOW
        )  # the position that belongs there now
        where = torch.where(last >= self.seen - T, last - self.seen + T + WINDOW, slots)
        self.kept = k[:, :, where], v[:, :, where]
        return k, v, at


class RingBufferWindow(Attention):
    """A ring buffer holds the newest keys before older ones; their order does not matter."""

    def empty(self) -> Ring:
        """A ring before the first position."""
        return Ring()

    def forward(self, x: Tensor, cache: Ring | None = None) -> Tensor:
        q, k, v = self.heads(x)
        at = torch.arange(x.shape[1])
        now = at
        if cache is not None:
            k, v, at = cache.turn(k, v)
            now = at[WINDOW:]
        age = now[:, None] - at
        return self.join(attend(q, k, v, (age >= 0) & (age < WINDOW) & (at >= 0)))


class Said(NamedTuple):
    """The output of a language model.

    Attributes:
        loss: over everything, the last token included.
        logits: [B, T, 16].
        past_key_values: keys and values so far, [B, H, S, D] each.
        attentions: who reads whom, [B, H, T, S].
    """

    loss: Tensor
    logits: Tensor
    past_key_values: tuple[Tensor, Tensor]
    attentions: Tensor


class TiedTokens(Attention):
    """A model of tokens with tied embeddings, which returns a loss and attention maps as well."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(16, WIDTH)
        self.head = nn.Linear(WIDTH, 16, bias=False)
        self.head.weight = self.tokens.weight

    def forward(
        self,
        input_ids: Tensor,
        past_key_values: tuple[Tensor, Tensor] | None = None,
        use_cache: bool = True,
    ) -> Said:
        x = self.tokens(input_ids)
        q, k, v = self.heads(x)
        if past_key_values is not None and use_cache:
            k, v = torch.cat([past_key_values[0], k], 2), torch.cat([past_key_values[1], v], 2)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        allowed = causal(q.shape[2], k.shape[2])
        maps = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
        logits = self.head(x + self.join(maps @ v))
        return Said(logits.logsumexp(-1).mean(), logits, (k, v), maps)


MASKS, CARRIED = "masks", "caches and states"
NAN = "https://github.com/pytorch/pytorch/issues/101967"


class CappedByTanh(Attention):
    """Scores are capped by tanh, which bears scores of any size."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        scores = CAP * torch.tanh(q @ k.mT / CAP)
        return self.join(scores.masked_fill(~causal(x.shape[1]), -torch.inf).softmax(-1) @ v)


def _right(build: Any, family: str, *source: str, **more: Any) -> Exhibit:
    return Exhibit(build, family, source, **more)


EXHIBITS = (
    _right(CappedByTanh, MASKS, "https://github.com/kekzl/imp/pull/688"),
    _right(ZeroTimesNan, MASKS, NAN),
    _right(AdditiveInfMask, MASKS, "https://github.com/pytorch/tutorials/issues/2250"),
    _right(
        DropoutInTraining,
        "random numbers",
        "https://github.com/facebookresearch/detr/issues/498",
        "https://github.com/rasbt/LLMs-from-scratch/pull/519",
    ),
    _right(RotaryInFloat32, "precision", "https://github.com/vllm-project/vllm/issues/863"),
    _right(GrowingTable, "memory", "https://github.com/karpathy/nanochat/pull/520"),
    _right(
        LeftPadsDoneRight,
        "pads and documents",
        "https://github.com/ndif-team/nnsight/pull/673",
        how=dict(padding="mask"),
    ),
    _right(
        DocumentsDoneRight,
        "pads and documents",
        "https://github.com/huggingface/transformers/pull/35861",
        how=dict(documents="position_ids"),
    ),
    _right(
        BottomRightCache,
        CARRIED,
        "https://github.com/pytorch/pytorch/issues/108108",
        "https://github.com/huggingface/transformers/pull/30311",
        how=CACHE,
    ),
    _right(
        RingBufferWindow,
        CARRIED,
        "https://github.com/kyutai-labs/moshi/issues/241",
        how=CACHE,
    ),
    _right(
        TiedTokens,
        CARRIED,
        "https://github.com/huggingface/transformers/pull/31939",
        "https://github.com/pytorch/pytorch/issues/62264",
        example=tokens,
        how=dict(carry=("by_past", {}), vocabulary=16),
    ),
)
