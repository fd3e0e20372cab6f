"""Convolutions over time that read to both sides, or wrap around the end."""

import torch
from torch import Tensor, nn

from .blocks import TAPS, WIDTH, Convolution
from .exhibit import Exhibit


class ConvolutionSame(Convolution):
    """Padding "same" centres the kernel, so one of its three taps lies in the future."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Conv1d(WIDTH, WIDTH, 3, padding="same", groups=WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.taps(x.mT).mT)


class TrimsTheWrongEnd(Convolution):
    """The layer pads both sides, and the result is cut at the start instead of the end."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Conv1d(WIDTH, WIDTH, TAPS, padding=TAPS - 1, groups=WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.taps(x.mT).mT[:, TAPS - 1 :])


class SpectralFilterWraps(nn.Module):
    """A product of spectra without zero padding is circular: the end wraps around to the start."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.randn(TAPS, WIDTH) / 2)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        T = max(x.shape[1], TAPS)
        spectrum = torch.fft.rfft(wide, T, 1) * torch.fft.rfft(self.taps.to(wide.dtype), T, 0)
        return torch.fft.irfft(spectrum, T, 1)[:, : x.shape[1]].to(x.dtype)


FAMILY = "convolutions"
EXHIBITS = (
    Exhibit(
        ConvolutionSame,
        FAMILY,
        ("https://github.com/maxim5/time-series-machine-learning/issues/12",),
        law="causal",
        kind="leak",
    ),
    Exhibit(
        TrimsTheWrongEnd,
        FAMILY,
        (
            "https://github.com/vllm-project/vllm-omni/pull/1241",
            "https://github.com/r9y9/wavenet_vocoder/issues/131",
        ),
        law="causal",
        kind="leak",
    ),
    Exhibit(
        SpectralFilterWraps,
        FAMILY,
        ("https://github.com/karpathy/nanochat/issues/844",),
        law="causal",
        kind="leak",
    ),
)
