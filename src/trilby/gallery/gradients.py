"""Gradients that are missing or wrong, of the first or the second order."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import WIDTH, Attention, Scan, causal
from .exhibit import Exhibit


class Sums(torch.autograd.Function):
    """Prefix sums whose way back runs forwards in time: the flip is missing."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.cumsum(1)

    @staticmethod
    def setup_context(_ctx: Any, _inputs: Any, _output: Any) -> None:
        pass

    @staticmethod
    def backward(_ctx: Any, dy: Tensor) -> Tensor:
        return dy.cumsum(1)


class BackwardRunsTheWrongWay(nn.Module):
    """A handwritten cumulative sum adds its gradients from the start instead of the end."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return Sums.apply(self.linear(x).tanh())


class NormaliserDetached(Attention):
    """The denominator of linear attention comes from a kernel that records no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        with torch.no_grad():
            keys = k.cumsum(2)
        total = (q * keys).sum(-1, keepdim=True)
        return self.join((q @ k.mT * causal(x.shape[1])) @ v / total)


class Recurrence(torch.autograd.Function):
    """h_t = a_t h_{t-1} + b_t with a gradient for b and none for a."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        h, every = torch.zeros_like(b[:, 0]), []
        for t in range(b.shape[1]):
            h = a[:, t] * h + b[:, t]
            every.append(h)
        return torch.stack(every, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, _output: Any) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, dh: Tensor) -> tuple[None, Tensor]:
        (a,) = ctx.saved_tensors
        d = torch.zeros_like(dh[:, 0])
        every: list[Tensor] = []
        for t in reversed(range(dh.shape[1])):
            d = dh[:, t] + (a[:, t + 1] * d if t + 1 < dh.shape[1] else 0)
            every.insert(0, d)
        return None, torch.stack(every, 1)


class GateWithoutGradient(nn.Module):
    """The recurrence has a backward for its inputs, but none for its decay."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return Recurrence.apply(self.gate(x).sigmoid(), self.value(x))


class FirstRow(torch.autograd.Function):
    """The identity; its way back adds both halves of the channels in the first row alone."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(_ctx: Any, _inputs: Any, _output: Any) -> None:
        pass

    @staticmethod
    def backward(_ctx: Any, dy: Tensor) -> Tensor:
        half = dy.shape[-1] // 2
        rest = torch.cat([dy[1:, :, :half], torch.zeros_like(dy[1:, :, half:])], -1)
        return torch.cat([dy[:1], rest])


class GradientOfTheFirstRow(Scan):
    """A backward has all channels in the first row of a batch, and half of them in the others."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(FirstRow.apply(x))


class WholePieces(torch.autograd.Function):
    """The identity; its way back has half of what follows the last whole piece of eight."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(_ctx: Any, _inputs: Any, _output: Any) -> None:
        pass

    @staticmethod
    def backward(_ctx: Any, dy: Tensor) -> Tensor:
        whole = dy.shape[1] // PIECE * PIECE
        return torch.cat([dy[:, :whole], dy[:, whole:] / 2], 1)


class GradientOfAShortLastPiece(Scan):
    """A backward in pieces of eight halves a short last piece; multiples of eight are right."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(WholePieces.apply(x))


class Clipped(torch.autograd.Function):
    """Rounds to eighths from -7/8 to 7/8; its way back takes no notice of the ends."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return (8 * x).round().clamp(-7, 7) / 8

    @staticmethod
    def setup_context(_ctx: Any, _inputs: Any, _output: Any) -> None:
        pass

    @staticmethod
    def backward(_ctx: Any, dy: Tensor) -> Tensor:
        return dy


class GradientBeyondTheClip(Scan):
    """A straight-through gradient also flows to values that are clipped."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(Clipped.apply(x))


class Squares(torch.autograd.Function):
    """x squared; its way back uses what the way there computed, and forgets where it came from."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.double = 2 * x
        return x * x

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return dy * ctx.double


class SecondGradientWrong(Scan):
    """A kernel saves an intermediate for its backward, so the second gradient is wrong."""

    def forward(self, x: Tensor) -> Tensor:
        return Squares.apply(super().forward(x))


PIECE = 8
FAMILY = "detached normalisers and wrong backwards"
EXHIBITS = (
    Exhibit(
        BackwardRunsTheWrongWay,
        FAMILY,
        ("https://github.com/pytorch/pytorch/pull/1122",),
        law="causal",
        kind="leak in the gradient",
        then=("differentiates", "sound"),
    ),
    Exhibit(
        NormaliserDetached,
        FAMILY,
        ("https://github.com/fla-org/flash-linear-attention/pull/875",),
        law="differentiates",
        kind="gradient wrong",
        then=("sound", "compiles"),
    ),
    Exhibit(
        GateWithoutGradient,
        FAMILY,
        ("https://github.com/pytorch/pytorch/issues/172568",),
        law="differentiates",
        kind="gradient missing",
        then=("sound", "compiles"),
    ),
    Exhibit(
        GradientBeyondTheClip,
        FAMILY,
        ("https://github.com/microsoft/nni/pull/3160",),
        law="differentiates",
        kind="gradient wrong",
        then=("compiles",),
    ),
    Exhibit(
        SecondGradientWrong,
        FAMILY,
        ("https://github.com/pytorch/pytorch/issues/58509",),
        law="differentiates",
        kind="second gradient",
        then=("compiles",),
    ),
    Exhibit(
        GradientOfTheFirstRow,
        FAMILY,
        (
            "https://github.com/fla-org/flash-linear-attention/pull/955",
            "https://github.com/flashinfer-ai/flashinfer/issues/3800",
        ),
        law="differentiates",
        kind="gradient wrong",
        then=("sound",),
    ),
    Exhibit(
        GradientOfAShortLastPiece,
        FAMILY,
        (
            "https://github.com/fla-org/flash-linear-attention/pull/1141",
            "https://github.com/NX-AI/mlstm_kernels/pull/10",
        ),
        law="differentiates",
        kind="gradient wrong",
        then=("sound",),
    ),
)
