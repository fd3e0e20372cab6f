"""Parts of the exhibits: a causal attention, a gated scan, a causal convolution, a cache.

All of them are correct. An exhibit uses one and changes one thing.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, HEADS, TAPS = 8, 2, 4


def causal(T: int, S: int | None = None) -> Tensor:
    """Which of S keys each of the last T positions may read, itself included: [T, S]."""
    S = T if S is None else S
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """softmax(q k' / sqrt(D)) v over what is allowed.

    Args:
        q: [B, H, T, D].
        k, v: [B, H, S, D].
        allowed: bool, broadcastable to [B, H, T, S]; every row allows something.
    """
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # [B, H, T, S]
    return scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v


def beside_pads(mask: Tensor | None, T: int) -> Tensor:
    """The causal mask without padding; each position may read itself: [T, T] or [B, 1, T, T].

    Args:
        mask: [B, T], 1 where a position is real; None where all are.
    """
    if mask is None:
        return causal(T)
    return causal(T) & mask.bool()[:, None, None, :] | torch.eye(T, dtype=torch.bool)


class Attention(nn.Module):
    """Causal softmax attention with two heads: [B, T, 8] -> [B, T, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """q, k and v: [B, H, T, D] each."""
        return self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def join(self, y: Tensor) -> Tensor:
        """Heads side by side again: [B, H, T, D] -> [B, T, 8]."""
        return self.out(y.transpose(1, 2).flatten(2))

    def allowed(self, T: int) -> Tensor:
        """Which key each position may read: bool [T, T]."""
        return causal(T)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        return self.join(attend(q, k, v, self.allowed(x.shape[1])))


class Keys:
    """A cache of keys and values that grows with every call."""

    def __init__(self) -> None:
        self.kept: tuple[Tensor, Tensor] | None = None  # [B, H, S, D] each

    def __len__(self) -> int:
        return 0 if self.kept is None else self.kept[0].shape[2]

    def add(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Everything so far, the new keys and values last."""
        if self.kept is not None:
            k, v = torch.cat([self.kept[0], k], 2), torch.cat([self.kept[1], v], 2)
        self.kept = k, v
        return self.kept


class CachedAttention(Attention):
    """Attention with a cache, which it changes in place."""

    def empty(self) -> Keys:
        """A cache before the first position."""
        return Keys()

    def forward(self, x: Tensor, cache: Keys | None = None) -> Tensor:
        q, k, v = self.heads(x)
        if cache is not None:
            k, v = cache.add(k, v)
        return self.join(attend(q, k, v, causal(q.shape[2], k.shape[2])))


def recur(a: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """h_t = a_t h_{t-1} + b_t: all of them [B, T, C], and the last one [B, C]."""
    every = []
    for t in range(b.shape[1]):
        h = a[:, t] * h + b[:, t]
        every.append(h)
    return torch.stack(every, 1) if every else b, h


class Scan(nn.Module):
    """A gated recurrence: [B, T, 8] -> [B, T, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The decays a and the inputs b of the recurrence: [B, T, 8] each."""
        a = self.gate(x).sigmoid()
        return a, (1 - a) * self.value(x)

    def zeros(self, x: Tensor) -> Tensor:
        """The state before the first position: [B, 8]."""
        return x.new_zeros(x.shape[0], WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(recur(*self.parts(x), self.zeros(x))[0])


class CarriedScan(Scan):
    """The same recurrence with the state handed in and out: f(x, state) -> (y, state)."""

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, last = recur(*self.parts(x), self.zeros(x) if state is None else state)
        return self.out(h), last


class Convolution(nn.Module):
    """A causal convolution over four positions, each channel by itself: [B, T, 8] -> [B, T, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Conv1d(WIDTH, WIDTH, TAPS, groups=WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.taps(F.pad(x.mT, (TAPS - 1, 0))).mT)


def clock(positions: Tensor, like: Tensor) -> Tensor:
    """Sines and cosines of positions, taken in float32 at least: [..., T] -> [..., T, 8]."""
    wide = torch.promote_types(like.dtype, torch.float32)
    rates = torch.logspace(0, -3, WIDTH // 2, 10, dtype=wide)
    angles = positions[..., None].to(wide) * rates
    return torch.cat([angles.sin(), angles.cos()], -1).to(like.dtype)


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """Pairs of channels turned by angles: [..., T, D] by [T, D / 2]."""
    real, imaginary = x.chunk(2, -1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([real * cos - imaginary * sin, real * sin + imaginary * cos], -1)
