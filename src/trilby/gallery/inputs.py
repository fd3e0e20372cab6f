"""Inputs of other kinds than one sequence [B, T, ...]: a memory, time on another axis, pads."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import HEADS, TAPS, WIDTH, Attention, Scan, attend, beside_pads
from .exhibit import Exhibit

TOKENS, PAD = 16, 0


class ReadsAMemory(nn.Module):
    """All of a memory is read at every position, and the memory is as long as the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.both = nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def heads(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [C / 8, B, H, T, D]."""
        return x.unflatten(-1, (-1, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        [q], (k, v) = self.heads(self.query(x)), self.heads(self.both(memory))
        y = attend(q, k, v, torch.ones((), dtype=torch.bool))
        return self.out(y.transpose(1, 2).flatten(2))


class MemoryOfAnotherRow(ReadsAMemory):
    """The memory is laid out head by head, the queries row by row: rows read other memories."""

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        q = self.heads(self.query(x))[0].flatten(0, 1)  # [B H, T, D]
        k, v = self.heads(self.both(memory)).transpose(1, 2).flatten(1, 2)  # [H B, S, D]
        y = attend(q, k, v, torch.ones((), dtype=torch.bool))
        return self.out(y.unflatten(0, (-1, HEADS)).transpose(1, 2).flatten(2))


class TimeOnTheLastAxis(nn.Module):
    """A causal convolution of [B, C, T], where axis 1 is channels, and all of them are mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Conv1d(WIDTH, WIDTH, TAPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.taps(F.pad(x, (TAPS - 1, 0)))


class ShiftsTheChannels(nn.Module):
    """The shift that makes a centred convolution causal is along the channels of [B, C, T]."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.taps(F.pad(x, (0, 0, 1, -1)))


class TimeOnTheFirstAxis(Scan):
    """A recurrence over axis 0 of [T, B, C]: with the batch taken for axis 0, rows read others."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(0, 1)).transpose(0, 1)


class PadsByTheirToken(Attention):
    """There is no mask: a token says where padding is, and that is never read."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, WIDTH)

    def real(self, ids: Tensor) -> Tensor | None:
        """Where a token is no pad: [B, T]."""
        return ids != PAD

    def forward(self, ids: Tensor) -> Tensor:
        q, k, v = self.heads(self.embed(ids))
        return self.join(attend(q, k, v, beside_pads(self.real(ids), ids.shape[1])))


class PadOfZeroIsNone(PadsByTheirToken):
    """The pad token is 0, which the code takes for no pad token at all, so padding is read."""

    def real(self, ids: Tensor) -> Tensor | None:
        return ids != PAD if PAD else None


def with_memory() -> dict[str, Tensor]:
    """x and memory: [2, 16, 8] each."""
    draw = torch.Generator().manual_seed(0)
    return {name: torch.randn(2, 16, WIDTH, generator=draw) for name in ("x", "memory")}


def time_last() -> Tensor:
    """[2, 8, 16]."""
    return torch.randn(2, WIDTH, 16, generator=torch.Generator().manual_seed(0))


def time_first() -> Tensor:
    """[16, 2, 8]."""
    return torch.randn(16, 2, WIDTH, generator=torch.Generator().manual_seed(0))


def words() -> Tensor:
    """Tokens without a pad: [2, 16]."""
    return torch.randint(1, TOKENS, (2, 16), generator=torch.Generator().manual_seed(0))


def _seen(address: str) -> tuple[str, ...]:
    return (f"https://github.com/{address}",)


MEMORY: dict[str, Any] = dict(example=with_memory, how=dict(fixed=("memory",)))
LAST: dict[str, Any] = dict(example=time_last, how=dict(time_axis=2))
WORDS: dict[str, Any] = dict(example=words, how=dict(padding=PAD, vocabulary=TOKENS))

EXHIBITS = (
    Exhibit(
        MemoryOfAnotherRow,
        "statistics over time or batch",
        _seen("jadore801120/attention-is-all-you-need-pytorch/issues/28"),
        law="isolated",
        kind="neighbour",
        **MEMORY,
    ),
    Exhibit(
        ShiftsTheChannels,
        "convolutions",
        _seen("speechbrain/speechbrain/pull/1608"),
        law="causal",
        kind="leak",
        **LAST,
    ),
    Exhibit(
        PadOfZeroIsNone,
        "left and right padding",
        _seen("NVIDIA-NeMo/Automodel/pull/3704"),
        law="padding",
        kind="padding",
        **WORDS,
    ),
)

RIGHT = (
    Exhibit(ReadsAMemory, "inputs", _seen("meta-pytorch/torchtune/issues/2493"), **MEMORY),
    Exhibit(TimeOnTheLastAxis, "inputs", _seen("locuslab/TCN/issues/35"), **LAST),
    Exhibit(
        TimeOnTheFirstAxis,
        "inputs",
        _seen("facebookresearch/fairseq/issues/169"),
        example=time_first,
        how=dict(time_axis=0),
    ),
    Exhibit(PadsByTheirToken, "inputs", _seen("facebookresearch/fairseq/issues/123"), **WORDS),
)
