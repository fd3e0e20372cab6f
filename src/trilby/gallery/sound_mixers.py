"""Correct, but looks wrong: scans, convolutions, norms, gates and experts."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import TAPS, WIDTH, Attention, CarriedScan, Convolution, Scan, causal, recur
from .chunks import CHUNK
from .exhibit import Exhibit
from .routing import EXPERTS, Experts
from .states import STATE

AHEAD = 2


class FftConvolution(nn.Module):
    """A causal convolution by FFT: every output depends on every input, but only by rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.randn(TAPS, WIDTH) / 2)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        n = x.shape[1] + TAPS  # long enough that nothing wraps around
        spectrum = torch.fft.rfft(wide, n, 1) * torch.fft.rfft(self.taps.to(wide.dtype), n, 0)
        return torch.fft.irfft(spectrum, n, 1)[:, : x.shape[1]].to(x.dtype)


class LookaheadConvolution(Convolution):
    """The last two of four taps lie in the future, which is allowed by a lookahead of two."""

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.taps(F.pad(x.mT, (TAPS - 1 - AHEAD, AHEAD))).mT)


class PaddedChunks(CarriedScan):
    """A short last chunk is padded with gates of 1 and inputs of 0, which keep the state."""

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        T = x.shape[1]
        a, b = self.parts(x)
        a, b = F.pad(a, (0, 0, 0, -T % CHUNK), value=1.0), F.pad(b, (0, 0, 0, -T % CHUNK))
        h, last = recur(a, b, self.zeros(x) if state is None else state)
        return self.out(h[:, :T]), last


class Float32Norm(Scan):
    """The norm computes in float32 and rounds before it multiplies by its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)
        return super().forward(self.scale * normed.to(x.dtype))


class EpsilonOfTheDtype(Scan):
    """torch's RMS norm takes its epsilon from the dtype, so it is another function in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x))


class CumulativeNorm(Scan):
    """Mean and variance over the positions so far only."""

    def forward(self, x: Tensor) -> Tensor:
        exact = x.double()
        n = WIDTH * torch.arange(1, x.shape[1] + 1, dtype=torch.float64)[:, None]
        mean = exact.sum(-1, keepdim=True).cumsum(1) / n
        square = exact.square().sum(-1, keepdim=True).cumsum(1) / n
        normed = (exact - mean) * torch.rsqrt((square - mean * mean).clamp_min(0) + 1e-2)
        return super().forward(normed.to(x.dtype))


class GatesWithResets(nn.Module):
    """A gate of -inf resets the state; differences of sums of gates would be inf - inf."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        """x [B, T, 8] and the logarithm of a decay per position, g [B, T], -inf to begin anew."""
        resets = g.isneginf()
        since = resets.cumsum(1)  # [B, T]
        total = g.masked_fill(resets, 0.0).double().cumsum(1)  # differences of sums lose digits
        kept = causal(x.shape[1]) & (since[:, :, None] == since[:, None, :])
        decay = (total[:, :, None] - total[:, None, :]).masked_fill(~kept, -torch.inf).exp()
        return self.out(decay.to(x.dtype) @ x)


class ZeroGate(Scan):
    """A residual gate that is zero at first, on a branch that is causal."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.share * super().forward(x)


class TokenChoice(Experts):
    """Each token chooses its expert; other rows change only the shape of the matrix products."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)  # [B T, C]
        p, chosen = self.router(flat).softmax(-1).max(-1)
        y = torch.zeros_like(flat)
        for number in range(EXPERTS):
            here = (chosen == number).nonzero()[:, 0]
            made = self.experts[number](flat[here]) * p[here, None]
            y = y.index_add(0, here, made)
        return x + y.view_as(x)


class StraightThrough(Attention):
    """Inputs are rounded to eighths with a straight-through gradient, on purpose."""

    def forward(self, x: Tensor) -> Tensor:
        rounded = (8 * x).round() / 8
        return super().forward(x + (rounded - x).detach())


class ScaledStraightThrough(Scan):
    """Positions are rounded to 8 bits by their own largest value, which the gradient ignores."""

    def forward(self, x: Tensor) -> Tensor:
        scale = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
        rounded = (x * scale).round().clamp(-128, 127) / scale
        return super().forward(x + (rounded - x).detach())


class FrozenBatchNorm(Scan):
    """A frozen batch norm: it uses its running statistics in training mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)
        self.norm.running_mean = torch.linspace(-0.5, 0.5, WIDTH)

    def train(self, mode: bool = True) -> "FrozenBatchNorm":
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x.mT.contiguous()).mT)


class CarriedGru(nn.Module):
    """A GRU token by token uses other matrix shapes than in one call: equal up to rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state is [1, B, 8]: its first axis is not the batch."""
        return self.gru(x, state)


class Window(NamedTuple):
    """The state of a convolution and a scan.

    Attributes:
        last: the last inputs of the convolution, [B, 3, 8].
        h: the state of the scan, [B, 8].
    """

    last: Tensor
    h: Tensor


class StepsByMethods(Scan):
    """The whole sequence in `forward`, one token at a time in `step`, with a window and a state."""

    def __init__(self) -> None:
        super().__init__()
        self.short = Convolution()

    def init_state(self, B: int) -> Window:
        """The state before the first position."""
        like = self.gate.weight
        return Window(like.new_zeros(B, TAPS - 1, WIDTH), like.new_zeros(B, WIDTH))

    def step(self, x: Tensor, state: Window) -> tuple[Tensor, Window]:
        """One position, x [B, 8]."""
        window = torch.cat([state.last, x[:, None]], 1)
        short = self.short(window)[:, -1:]
        h, last = recur(*self.parts(short), state.h)
        return self.out(h[:, 0]), Window(window[:, 1:], last)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.short(x))


class RefusesLongInput(Attention):
    """There are 32 learned positions, and a longer input raises an error."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(32, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        if len(self.places) < T:
            raise ValueError(f"this model has {len(self.places)} positions, and the input has {T}")
        return super().forward(x + self.places[:T])


class KinkAtZero(Scan):
    """A branch with a ReLU whose layer is zero at first, so the function has a kink right there."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.back = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        nn.init.zeros_(self.wide.weight)
        nn.init.zeros_(self.wide.bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.back(self.wide(x).relu())


def resetting() -> tuple[Tensor, Tensor]:
    """x [2, 16, 8] and gates [2, 16], a quarter of them -inf."""
    draw = torch.Generator().manual_seed(0)
    x, g = torch.randn(2, 16, 8, generator=draw), -torch.rand(2, 16, generator=draw)
    return x, g.masked_fill(torch.rand(2, 16, generator=draw) < 0.25, -torch.inf)


def _seen(address: str) -> tuple[str, ...]:
    return (f"https://github.com/{address}",)


EXHIBITS = (
    Exhibit(FftConvolution, "rounding", _seen("pytorch/pytorch/issues/52983")),
    Exhibit(
        LookaheadConvolution,
        "convolutions",
        _seen("PaddlePaddle/Paddle/issues/2228") + _seen("Rikorose/DeepFilterNet/issues/402"),
        how=dict(lookahead=AHEAD),
    ),
    Exhibit(PaddedChunks, "caches and states", _seen("NX-AI/mlstm_kernels/pull/14"), how=STATE),
    Exhibit(Float32Norm, "precision", _seen("huggingface/transformers/issues/33133")),
    Exhibit(EpsilonOfTheDtype, "precision", _seen("pytorch/pytorch/issues/155527")),
    Exhibit(
        CumulativeNorm,
        "statistics",
        _seen("cszheng-ioa/Sixty-years-of-frequency-domain-monaural-speech-enhancement/issues/2"),
    ),
    Exhibit(
        GatesWithResets,
        "gates",
        _seen("fla-org/flash-linear-attention/pull/463"),
        example=resetting,
    ),
    Exhibit(ZeroGate, "gates", _seen("lucidrains/performer-pytorch/issues/28")),
    Exhibit(
        TokenChoice,
        "rounding",
        _seen("pegainfer-project/pegainfer/issues/414") + _seen("kekzl/imp/issues/1314"),
    ),
    Exhibit(
        StraightThrough,
        "gates",
        _seen("Oneflow-Inc/oneflow/issues/8649"),
    ),
    Exhibit(ScaledStraightThrough, "gates", _seen("kyegomez/BitNet/issues/51")),
    Exhibit(FrozenBatchNorm, "statistics", _seen("pytorch/pytorch/issues/66073")),
    Exhibit(CarriedGru, "rounding", _seen("huggingface/transformers/pull/31939"), how=STATE),
    Exhibit(
        StepsByMethods,
        "caches and states",
        _seen("alxndrTL/mamba.py/issues/71"),
        how=dict(carry=("by_methods", {})),
    ),
    Exhibit(
        KinkAtZero,
        "gradients",
        _seen("pytorch/pytorch/issues/114234") + _seen("BVLC/caffe/issues/1334"),
    ),
    Exhibit(RefusesLongInput, "memory", _seen("karpathy/nanochat/pull/612")),
)
