"""The delta rule for a whole chunk of positions, as products of matrices and one triangular solve.

Position t writes `u_t = beta_t (v_t - h^T k_t)` at its key, where h is the memory that it finds.
In a chunk of n positions that starts from h, all u solve one triangular system::

    (1 + beta kk) u = beta (v - early_k h)
    y = early_q h + qk u
    h = whole h + late^T u

What the gates do to q and k is in a `Seen`, so these three lines are the same for one gate per head
and for a gate per channel. This is the WY form of Yang and others, "Parallelizing linear
transformers with the delta rule over sequence length" (2024), arXiv:2406.06484.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..shapes import finest
from .fade import fade, faded


class Seen(NamedTuple):
    """A chunk of n positions, as the state before it, each other, and the state after it see it."""

    early_q: Tensor  # [..., n, K], q times the decays from the first position on
    early_k: Tensor  # [..., n, K], k times the same
    late: Tensor  # [..., n, K], k times the decays after the position
    qk: Tensor  # [..., n, n], q_t . k_s times the decays between them, for s <= t, else 0
    kk: Tensor  # [..., n, n], k_t . k_s times the same, for s < t, else 0
    whole: Tensor  # [..., 1 or K, 1], all decays of the chunk


def seen(q: Tensor, k: Tensor, g: Tensor) -> Seen:
    """A chunk with one gate for each head and position.

    Args:
        q, k: [..., n, K] with n of 1 or more. g: [..., n] natural logarithms of decays.

    >>> one, half = torch.ones(2, 1), torch.tensor([0.5, 0.5]).log()
    >>> seen(one, one, half).early_q.flatten().tolist(), seen(one, one, half).qk.tolist()
    ([0.5, 0.25], [[1.0, 0.0], [0.5, 1.0]])
    """
    decays, old = fade(g), faded(g)
    early, last = old[..., None], decays[..., -1, :, None]
    kk = (k @ k.mT * decays).tril(-1)
    return Seen(early * q, early * k, last * k, q @ k.mT * decays, kk, old[..., -1, None, None])


def erased(at: Seen, beta: Tensor, wanted: Tensor) -> Tensor:
    """u of `(1 + beta kk) u = beta wanted`.

    Args:
        beta: [..., n]. wanted: [..., n, V], what the state before the chunk leaves to be written.

    >>> at = seen(torch.ones(2, 1), torch.ones(2, 1), torch.zeros(2))
    >>> erased(at, torch.ones(2), torch.tensor([[3.0], [5.0]])).flatten().tolist()
    [3.0, 2.0]
    """
    beta = beta[..., None]
    right = beta * wanted
    batch = torch.broadcast_shapes(at.kk.shape[:-2], right.shape[:-2])
    system = (beta * at.kk).expand(*batch, -1, -1)
    right = right.expand(*batch, -1, -1)
    return torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)


def renewed(at: Seen, v: Tensor, beta: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """y [..., n, V] of a chunk and the state after it, from the state h [..., K, V] before it.

    >>> one = torch.ones(2, 1)
    >>> at = seen(one, one, torch.zeros(2))
    >>> y, h = renewed(at, torch.tensor([[3.0], [5.0]]), torch.ones(2), torch.zeros(1, 1))
    >>> y.flatten().tolist(), h.item()
    ([3.0, 5.0], 5.0)
    """
    u = erased(at, beta, v - at.early_k @ h)
    return at.early_q @ h + at.qk @ u, at.whole * h + at.late.mT @ u


def chunked(
    see: Callable[[Tensor, Tensor, Tensor], Seen], sequences: Sequence[Tensor], h: Tensor, size: int
) -> tuple[list[Tensor], Tensor]:
    """Chunks of `size` positions one after the other: their outputs, and the state after the last.

    Inside it is float64 where the device has it: what is written cancels what it erases, and small
    gradients would lose their digits, the more the longer a chunk is.

    Args:
        see: `seen`, or what takes its place for other gates.
        sequences: q, k, v, beta, g as of `grouped`, time on axis 3.
        h: the state before them, as of `grouped`.
    """
    y, dtype, h = [], h.dtype, h.to(finest(h.device))
    for start in range(0, sequences[0].shape[3], size):
        q, k, v, beta, g = (x[:, :, :, start : start + size].to(h.dtype) for x in sequences)
        now, h = renewed(see(q, k, g), v, beta, h)
        y.append(now.to(dtype))
    return y, h.to(dtype)
