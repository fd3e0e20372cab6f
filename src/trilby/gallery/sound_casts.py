"""Correct, but looks wrong: casts to a narrower dtype, choices, rows without gradient."""

import torch
from torch import Tensor, nn

from .blocks import WIDTH, Attention, Scan, causal
from .exhibit import Exhibit, tokens

NARROW = torch.float32  # whatever the dtype of the model
KEPT = 4
VOCABULARY = 16


class SoftmaxInFloat32(Attention):
    """The softmax is computed in float32, so a float64 model has only float32 precision there."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~causal(x.shape[1]), -torch.inf)
        return self.join(scores.softmax(-1, dtype=NARROW).to(x.dtype) @ v)


class NormInFloat32(Scan):
    """The norm casts to float32 and back, even where the model is float64."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        cast = x.to(NARROW)
        normed = cast * torch.rsqrt(cast.square().mean(-1, keepdim=True) + 1e-6)
        return super().forward(self.scale * normed.to(x.dtype))


class LeastNumberInFloat32(Attention):
    """Masked scores are the lowest number of the dtype; that of float64 is -inf in float32."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        allowed = causal(x.shape[1])
        if mask is not None:  # padding on the left may read nothing, and gets the mean of all
            allowed = allowed & mask.bool()[:, None, None, :]
        q, k, v = self.heads(x)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~allowed, torch.finfo(x.dtype).min)
        return self.join(scores.softmax(-1, dtype=NARROW).to(x.dtype) @ v)


class LargestKeysAlone(Attention):
    """Each query reads its four best keys; in a near tie of the last, either may be read."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        T = x.shape[1]
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~causal(T), -torch.inf)
        best = scores.topk(min(KEPT, T), -1).indices
        chosen = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best, True)
        return self.join(scores.masked_fill(~chosen, -torch.inf).softmax(-1) @ v)


class RowWithoutGradient(Scan):
    """The embedding of the padding token gets no gradient, by contract, but its values matter."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        nn.init.normal_(self.tokens.weight)  # as loading weights does

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(self.tokens(ids)) @ self.tokens.weight.T


class ScalesInPlace(Scan):
    """The output of the embedding is scaled in place; nothing else uses it yet."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        x *= WIDTH**0.5
        return super().forward(x)


def _seen(*address: str) -> tuple[str, ...]:
    return tuple(f"https://github.com/{one}" for one in address)


TOLD = dict(vocabulary=VOCABULARY)
EXHIBITS = (
    Exhibit(SoftmaxInFloat32, "precision", _seen("huggingface/transformers/issues/48459")),
    Exhibit(
        NormInFloat32,
        "precision",
        _seen("huggingface/transformers/issues/24519", "huggingface/transformers/issues/30186"),
    ),
    Exhibit(
        LeastNumberInFloat32,
        "masks",
        _seen("huggingface/transformers/pull/17306", "huggingface/transformers/pull/18185"),
        how=dict(padding="mask"),
    ),
    Exhibit(LargestKeysAlone, "rounding", _seen("vllm-project/vllm/pull/52696")),
    Exhibit(
        RowWithoutGradient,
        "gradients",
        _seen("pytorch/pytorch/pull/99181"),
        example=tokens,
        how=TOLD,
    ),
    Exhibit(
        ScalesInPlace,
        "gradients",
        _seen("modelscope/ms-swift/issues/4613"),
        example=tokens,
        how=TOLD,
    ),
)
