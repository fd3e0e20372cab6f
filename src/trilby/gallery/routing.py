"""Experts that choose among positions, or that have a limited capacity."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import WIDTH
from .exhibit import Exhibit

EXPERTS = 2


class Experts(nn.Module):
    """Two linear experts and a router; a subclass says what each expert takes."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(EXPERTS))

    def taken(self, p: Tensor) -> Tensor:
        """Which experts each position goes to: p, taken [B, T, E]."""
        return F.one_hot(p.argmax(-1), EXPERTS).bool()

    def forward(self, x: Tensor) -> Tensor:
        p = self.router(x).softmax(-1)
        shares = p * self.taken(p)  # [B, T, E]
        made = torch.stack([expert(x) for expert in self.experts], -1)  # [B, T, C, E]
        return x + (made * shares[:, :, None]).sum(-1)


class ExpertChoice(Experts):
    """Each expert chooses half of all positions by their scores, so later positions compete."""

    def taken(self, p: Tensor) -> Tensor:
        best = p.topk((p.shape[1] + 1) // 2, dim=1).indices  # [B, T / 2, E]
        return torch.zeros_like(p, dtype=torch.bool).scatter(1, best, True)


class CapacityInTurn(Experts):
    """At each step an expert accepts one row of the batch, and the later rows are dropped."""

    def taken(self, p: Tensor) -> Tensor:
        chosen = super().taken(p)
        return chosen & (chosen.cumsum(0) <= 1)  # place in the queue, over the batch


EXHIBITS = (
    Exhibit(
        ExpertChoice,
        "top-k over time",
        (
            "https://github.com/allenai/OLMoE/issues/46",
            "https://github.com/piotrpiekos/MoSA/issues/3",
        ),
        law="causal",
        kind="leak without gradient",
    ),
    Exhibit(
        CapacityInTurn,
        "statistics over time or batch",
        (
            "https://github.com/microsoft/Tutel/issues/230",
            "https://github.com/deepseek-ai/DeepSeek-MoE/issues/29",
        ),
        law="isolated",
        kind="neighbour",
    ),
)
