"""Leaky sums of a gated sequence: a mixer outside of the package, with several sequences."""

import torch
from torch import Tensor

from trilby import Contract, Mixer, Weights, scan
from trilby.contract import WIDE

CONTRACT = Contract(
    "bank", x="B T C", gate="B T C", A="C N", reads="B T N", D="C",
    state=dict(state=("B C N", WIDE)), documents=False,
)  # fmt: skip


def loop(
    x: Tensor, gate: Tensor, A: Tensor, reads: Tensor, D: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Each channel has N sums: h = A h + gate x, y = reads h + D x. Cost: O(B T C N)."""
    h, _, _ = CONTRACT.start("bank.loop", (x, gate, A, reads, D), state)
    wide, y = h.dtype, []
    for t in range(x.shape[1]):
        now, opened, read = (z[:, t].to(wide) for z in (x, gate, reads))
        h = A.to(wide) * h + (opened * now)[..., None]
        y.append((h * read[:, None]).sum(-1) + D.to(wide) * now)
    return (torch.stack(y, 1) if y else x.to(wide)).to(x.dtype), h


def prefixes(added, A, h):
    """The sums after every position, [B, T, C, N]."""

    def join(f, then):
        return then[0] * f[0], then[0] * f[1] + then[1]

    new = added[..., None].expand(*added.shape, A.shape[1])
    kept, sums = scan(join, (A.expand(new.shape), new))
    return sums + kept * h[:, None]


def parallel(
    x: Tensor, gate: Tensor, A: Tensor, reads: Tensor, D: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same by parallel prefixes. Cost: O(B T C N)."""
    h, _, _ = CONTRACT.start("bank.scan", (x, gate, A, reads, D), state)
    if not x.shape[1]:
        return x.clone(), h
    now, opened, read = (z.to(h.dtype) for z in (x, gate, reads))
    after = prefixes(opened * now, A.to(h.dtype), h)
    y = torch.einsum("btcn,btn->btc", after, read) + D.to(h.dtype) * now
    return y.to(x.dtype), after[:, -1]


def weights(
    x: Tensor, gate: Tensor, A: Tensor, reads: Tensor, D: Tensor, state: Tensor | None = None
) -> Weights:
    """Column s is the answer to a one at position s. Cost: O(B C T^2 N)."""
    h, _, _ = CONTRACT.start("bank.weights", (x, gate, A, reads, D), state)
    zero = torch.zeros_like(x)
    ones = [zero.index_fill(1, torch.tensor([s]), 1) for s in range(x.shape[1])]
    columns = [parallel(one, gate, A, reads, D)[0].mT for one in ones]  # each [B, C, T]
    return Weights(torch.stack(columns, -1), parallel(zero, gate, A, reads, D, h)[0])


def draw(*, B=2, T=13, C=3, N=4, seed=0, dtype=torch.float32):
    """x, gate, A, reads, D."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    given = normal(B, T, C), normal(B, T, C).sigmoid(), normal(C, N).sigmoid()
    return tuple(z.to(dtype) for z in (*given, normal(B, T, N), normal(C)))


MIXER = Mixer(
    contract=CONTRACT, forms=dict(loop=loop, scan=parallel), absent={},
    best=lambda *_, **__: "scan", weights=weights, draw=draw,
)  # fmt: skip
