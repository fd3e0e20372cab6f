"""Documents packed into one row that read each other."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import Attention, Convolution, Scan, attend, causal, clock
from .exhibit import Exhibit, floats


def same_document(ids: Tensor) -> Tensor:
    """Which positions share a document, by their ids [B, T]: [B, 1, T, T]."""
    return (ids[:, :, None] == ids[:, None, :])[:, None]


class AttentionCrossesDocuments(Attention):
    """Positions restart with each document, but attention still reads the one before."""

    def forward(self, x: Tensor, position_ids: Tensor | None = None) -> Tensor:
        at = torch.arange(x.shape[1]) if position_ids is None else position_ids
        return super().forward(x + clock(at, x))


class SingleTokenDocumentsMerge(Attention):
    """A document is taken to begin where the position decreases; from 0 to 0 it does not."""

    def forward(self, x: Tensor, position_ids: Tensor | None = None) -> Tensor:
        q, k, v = self.heads(x)
        allowed = causal(x.shape[1])
        if position_ids is not None:
            starts = F.pad(position_ids[:, 1:] < position_ids[:, :-1], (1, 0))
            allowed = allowed & same_document(starts.cumsum(1))
        return self.join(attend(q, k, v, allowed))


class PositionsRunOn(Attention):
    """Attention keeps to its document, but positions are counted across all documents."""

    def forward(self, x: Tensor, document_ids: Tensor | None = None) -> Tensor:
        T = x.shape[1]
        q, k, v = self.heads(x + clock(torch.arange(T), x))
        allowed = causal(T)
        if document_ids is not None:
            allowed = allowed & same_document(document_ids)
        return self.join(attend(q, k, v, allowed))


class ConvolutionCrossesDocuments(Scan):
    """The state is reset for each document, but the short convolution reads across the boundary."""

    def __init__(self) -> None:
        super().__init__()
        self.short = Convolution()

    def forward(self, x: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
        x = self.short(x)
        if cu_seqlens is None:
            return super().forward(x)
        borders = cu_seqlens[1:-1].tolist()
        documents = x.tensor_split(borders, 1)
        return torch.cat([Scan.forward(self, document) for document in documents], 1)


class RecurrenceCrossesDocuments(Scan):
    """The short convolution starts anew with each document, but the recurrence after it runs on."""

    def __init__(self) -> None:
        super().__init__()
        self.short = Convolution()

    def forward(self, x: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
        borders = [] if cu_seqlens is None else cu_seqlens[1:-1].tolist()
        documents = x.tensor_split(borders, 1)
        return super().forward(torch.cat([self.short(document) for document in documents], 1))


FAMILY = "packing"
EXHIBITS = (
    Exhibit(
        AttentionCrossesDocuments,
        FAMILY,
        (
            "https://github.com/alex-hh/profam/issues/495",
            "https://github.com/huggingface/nanoVLM/pull/204",
        ),
        law="documents",
        kind="document",
        how=dict(documents="position_ids"),
    ),
    Exhibit(
        SingleTokenDocumentsMerge,
        FAMILY,
        ("https://github.com/modelscope/ms-swift/pull/9904",),
        law="documents",
        kind="document",
        how=dict(documents="position_ids"),
    ),
    Exhibit(
        PositionsRunOn,
        FAMILY,
        ("https://github.com/huggingface/nanoVLM/issues/201",),
        law="documents",
        kind="document",
        how=dict(documents="document_ids"),
    ),
    Exhibit(
        ConvolutionCrossesDocuments,
        FAMILY,
        (
            "https://github.com/huggingface/transformers/pull/46588",
            "https://github.com/state-spaces/mamba/pull/434",
        ),
        law="documents",
        kind="document",
        example=lambda: floats()[:1],
        how=dict(documents="cu_seqlens"),
    ),
    Exhibit(
        RecurrenceCrossesDocuments,
        FAMILY,
        (
            "https://github.com/PrimeIntellect-ai/prime-rl/issues/3002",
            "https://github.com/fla-org/flash-linear-attention/pull/1184",
        ),
        law="documents",
        kind="document",
        example=lambda: floats()[:1],
        how=dict(documents="cu_seqlens"),
    ),
)
