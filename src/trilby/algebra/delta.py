"""The delta rule in torch operations: by chunks, by positions, by prefixes, and as a triangle.

A chunk is made of products of matrices and one triangular solve.

Position t writes `u_t = beta_t (v_t - h^T k_t)` at its key, where h is the memory that it finds.
In a chunk of n positions that starts from h, all u solve one triangular system::

    (1 + beta kk) u = beta (v - early_k h)
    y = early_q h + qk u
    h = whole h + late^T u

What the gates do to q and k is in a `Seen`, so these three lines are the same for one gate per
head, `seen`, and for a gate per channel, `seen_by_channel`. This is the WY form of Yang and others,
"Parallelizing linear transformers with the delta rule over sequence length" (2024),
arXiv:2406.06484.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..shapes import finest
from .fade import fade, faded
from .prefix import scan


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


def seen_by_channel(q: Tensor, k: Tensor, g: Tensor) -> Seen:
    """A chunk with a gate for each channel of the keys.

    Args:
        q, k: [..., n, K] with n of 1 or more. g: [..., n, K] natural logarithms of decays.

    Neighbouring blocks of 1, 2, 4 ... positions become one. What the right one sees of the left one
    is a product of two matrices: the decays are split at the border between them, so that both
    factors hold decays that some state has, and none is divided by. No tensor is [..., n, n, K].

    Cost: time O(n^2 K), memory O(n K log n + n^2) for each chunk, n filled up to a power of two.

    >>> one, gates = torch.ones(2, 2), torch.tensor([[0.5, 0.0], [0.5, 1.0]]).log()
    >>> seen_by_channel(one, one, gates).early_q.tolist()
    [[0.5, 0.0], [0.25, 0.0]]
    >>> seen_by_channel(one, one, gates).qk.tolist()  # 1/2 in one channel, 1 in the other
    [[2.0, 0.0], [1.5, 2.0]]
    """
    n = q.shape[-2]
    q, k, g = torch.broadcast_tensors(q, k, g)
    if more := (1 << (n - 1).bit_length()) - n:
        q, k, g = (torch.nn.functional.pad(x, (0, 0, 0, more)) for x in (q, k, g))
    blocks = [x.unsqueeze(-2) for x in (q, k, g, torch.zeros_like(g))]  # [..., N, 1, K]
    qk = (blocks[0] * blocks[1]).sum(-1, keepdim=True)
    kk = torch.zeros_like(qk)
    while blocks[0].shape[-3] > 1:
        # since: the sum of g from the beginning of a block to a position; until: from there on
        (q0, q1), (k0, k1), (since0, since1), (until0, until1) = map(_halves, blocks)
        left, right = (until0.exp() * k0).mT, since1.exp()
        qk, kk = _joined(qk, (right * q1) @ left), _joined(kk, (right * k1) @ left)
        since = since0, since0[..., -1:, :] + since1
        until = until0 + since1[..., -1:, :], until1
        blocks = [torch.cat(x, -2) for x in ((q0, q1), (k0, k1), since, until)]
    q, k, old, late = (x.squeeze(-3)[..., :n, :] for x in blocks)
    old, late, qk, kk = old.exp(), late.exp() * k, *(x[..., 0, :n, :n] for x in (qk, kk))
    return Seen(old * q, old * k, late, qk, kk, old[..., -1, :, None])


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Blocks [..., 2 N, m, K]: each first of two, and each second."""
    return x[..., 0::2, :, :], x[..., 1::2, :, :]


def _joined(triangles: Tensor, corner: Tensor) -> Tensor:
    """Triangles [..., 2 N, m, m], two by two, and what stands below the first of each two."""
    first, second = _halves(triangles)
    upper = torch.cat([first, torch.zeros_like(corner)], -1)
    return torch.cat([upper, torch.cat([corner, second], -1)], -2)


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


def stepped(sequences: Sequence[Tensor], h: Tensor) -> tuple[list[Tensor], Tensor]:
    """One position after the other: their outputs, and the state after the last.

    Args:
        sequences: q, k, v, beta, g as of `grouped`, g [B, G, R, T, 1 or K].
        h: the state before them, as of `grouped`.
    """
    y = []
    for q, k, v, beta, g in zip(*(x.unbind(3) for x in sequences), strict=True):
        h = g.exp()[..., None] * h
        u = beta[..., None] * (v - (k[..., None] * h).sum(-2))  # [B, G, R, V]
        h = torch.addcmul(h, k[..., :, None], u[..., None, :])
        y.append((q[..., None] * h).sum(-2)[..., None, :])
    return y, h


def prefixed(sequences: Sequence[Tensor], h: Tensor) -> tuple[list[Tensor], Tensor]:
    """The same by parallel prefixes of the maps h -> A h + b, T of 1 or more.

    A is (1 - beta k k^T) diag(exp(g)), and b is beta k v^T.
    """
    q, k, v, beta, g = sequences
    one = torch.eye(q.shape[-1], dtype=h.dtype, device=h.device)
    written = (beta[..., None] * k)[..., :, None]  # [B, G, R, T, K, 1]
    A = (one - written * k[..., None, :]) * g.exp()[..., None, :]
    b = written * v[..., None, :]
    A, b = (x.expand(*h.shape[:3], -1, -1, -1) for x in (A, b))
    A, b = scan(_join, (A, b), dim=3)
    states = A @ h[:, :, :, None] + b  # [B, G, R, T, K, V]
    return [(q[..., None] * states).sum(-2)], states[:, :, :, -1]


def _join(f: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return then[0] @ f[0], then[0] @ f[1] + then[1]


def weighed(
    see: Callable[[Tensor, Tensor, Tensor], Seen], sequences: Sequence[Tensor], h: Tensor
) -> tuple[Tensor, Tensor]:
    """The triangle of each head [B, H, T, T], and what the state adds [B, G, R or 1, T, V].

    Args:
        see: as of `chunked`.
        sequences: q, k, beta, g as of `grouped`, T of 1 or more.
        h: the state before them.
    """
    fine = finest(h.device)
    q, k, beta, g, h = (x.to(fine) for x in (*sequences, h))
    at, one = see(q, k, g), torch.eye(q.shape[-2], dtype=fine, device=h.device)
    wei = (at.qk @ erased(at, beta, one)).expand(*h.shape[:3], -1, -1)
    carried = at.early_q @ h - at.qk @ erased(at, beta, at.early_k @ h)
    return wei.flatten(1, 2), carried
