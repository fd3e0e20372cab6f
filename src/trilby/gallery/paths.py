"""Masks that exist on one path only: with dropout, with a mask, in inference, when compiled."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import WIDTH, Attention, Scan, attend, beside_pads, causal, recur
from .exhibit import Exhibit


class DropoutPathForgetsTheMask(Attention):
    """With dropout the weights are computed by hand, and the causal mask is forgotten there."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        if not self.training:
            return self.join(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return self.join(F.dropout(weights, 0.1) @ v)


class PaddingMaskReplacesTheTriangle(Attention):
    """`is_causal` is used only without a padding mask; with one, there is no causal mask."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.heads(x)
        columns = None if mask is None else mask.bool()[:, None, None, :]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=columns, is_causal=mask is None)
        return self.join(y)


class TriangleOnlyWithAMask(Attention):
    """The causal mask is built only where a padding mask is given; without one there is neither."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.heads(x)
        allowed = torch.ones(1, dtype=torch.bool)
        if mask is not None:
            allowed = beside_pads(mask, x.shape[1])
        return self.join(attend(q, k, v, allowed))


class InferencePathForgetsTheMask(Attention):
    """Without gradients a fast kernel is called, and it is not given the mask."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        slow = torch.is_grad_enabled()
        return self.join(F.scaled_dot_product_attention(q, k, v, is_causal=slow))


class InferenceHasAnotherGelu(Scan):
    """Without gradients, the activation is the tanh approximation."""

    def forward(self, x: Tensor) -> Tensor:
        h, _ = recur(*self.parts(x), self.zeros(x))
        return self.out(F.gelu(3 * h, approximate="none" if torch.is_grad_enabled() else "tanh"))


class CompiledPathForgetsTheMask(Attention):
    """The compiled branch leaves the mask to a kernel that is not there, so there is no mask."""

    def allowed(self, T: int) -> Tensor:
        if torch.compiler.is_compiling():
            return torch.ones(T, T, dtype=torch.bool)
        return causal(T)


@torch.library.custom_op("trilby_gallery::shifted", mutates_args=())
def shifted(x: Tensor) -> Tensor:
    """Every position's predecessor, zeros before the first: [B, T, C], time fastest in memory."""
    return F.pad(x, (0, 0, 1, -1)).mT.contiguous().mT


@shifted.register_fake
def _fake(x: Tensor) -> Tensor:
    return torch.empty_like(
        x, memory_format=torch.contiguous_format
    )  # not the strides of the result


shifted.register_autograd(lambda _, dy: F.pad(dy, (0, 0, -1, 1)))


class OperatorWithAWrongFake(nn.Module):
    """The operator returns another memory layout than its fake implementation says."""

    def __init__(self) -> None:
        super().__init__()
        self.now = nn.Linear(WIDTH, WIDTH)
        self.before = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.now(x) + self.before(torch.ops.trilby_gallery.shifted(x))


FAMILY = "mask on one path only"
EXHIBITS = (
    Exhibit(
        DropoutPathForgetsTheMask,
        FAMILY,
        ("https://github.com/keras-team/keras/issues/23038",),
        law="causal",
        kind="leak",
    ),
    Exhibit(
        PaddingMaskReplacesTheTriangle,
        FAMILY,
        (
            "https://github.com/huggingface/transformers/issues/30095",
            "https://github.com/huggingface/transformers/issues/37807",
        ),
        law="causal",
        kind="leak",
        then=("padding",),
        how=dict(padding="mask"),
    ),
    Exhibit(
        TriangleOnlyWithAMask,
        FAMILY,
        ("https://github.com/facebookresearch/xformers/issues/103",),
        law="causal",
        kind="leak",
        then=("padding",),
        how=dict(padding="mask"),
    ),
    Exhibit(
        InferencePathForgetsTheMask,
        FAMILY,
        (
            "https://github.com/pytorch/pytorch/pull/81277",
            "https://github.com/pytorch/pytorch/issues/106630",
        ),
        law="causal",
        kind="leak without gradient",
        then=("differentiates", "sound", "compiles"),
    ),
    Exhibit(
        InferenceHasAnotherGelu,
        FAMILY,
        ("https://github.com/pytorch/pytorch/issues/106630",),
        law="differentiates",
        kind="forward",
        then=("sound", "compiles"),
    ),
    Exhibit(
        CompiledPathForgetsTheMask,
        "compile branches",
        ("https://github.com/unslothai/unsloth-zoo/pull/1212",),
        law="compiles",
        kind="compiled differs",
    ),
    Exhibit(
        OperatorWithAWrongFake,
        "compile branches",
        (
            "https://github.com/KellerJordan/modded-nanogpt/pull/83",
            "https://github.com/pytorch/pytorch/pull/177115",
        ),
        law="compiles",
        kind="operator",
    ),
)
