"""The selective scan of Mamba: a mixer outside of the package, with A and D as parameters."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from trilby import Contract, Mixer, Weights, scan
from trilby.contract import WIDE

CONTRACT = Contract(
    "selective", x="B T C", dt="B T C", A="C N", B="B T N", C="B T N", D="C",
    state=dict(state=("B C N", WIDE)), documents=False,
)  # fmt: skip


def loop(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """h = exp(dt A) h + dt B x, y = C h + D x. Cost: O(B T C N)."""
    h, _, _ = CONTRACT.start("selective.loop", (x, dt, A, B, C, D), state)
    wide, y = h.dtype, []
    for t in range(x.shape[1]):
        now, step, keys, reads = (z[:, t].to(wide) for z in (x, dt, B, C))
        h = (step[..., None] * A.to(wide)).exp() * h + (step * now)[..., None] * keys[:, None]
        y.append((h * reads[:, None]).sum(-1) + D.to(wide) * now)
    return (torch.stack(y, 1) if y else x.to(wide)).to(x.dtype), h


def prefixes(x, dt, A, B, h):
    """The state after every position, [B, T, C, N]."""
    fade = (dt[..., None] * A).exp()

    def join(f, then):
        return then[0] * f[0], then[0] * f[1] + then[1]

    kept, added = scan(join, (fade, (dt * x)[..., None] * B[:, :, None]))
    return added + kept * h[:, None]


def parallel(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same by parallel prefixes. Cost: O(B T C N)."""
    h, _, _ = CONTRACT.start("selective.scan", (x, dt, A, B, C, D), state)
    if not x.shape[1]:
        return x.clone(), h
    now, step, keys, reads = (z.to(h.dtype) for z in (x, dt, B, C))
    after = prefixes(now, step, A.to(h.dtype), keys, h)
    y = torch.einsum("btcn,btn->btc", after, reads) + D.to(h.dtype) * now
    return y.to(x.dtype), after[:, -1]


def weights(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None = None
) -> Weights:
    """Column s is the answer to a one at position s. Cost: O(B C T^2 N)."""
    h, _, _ = CONTRACT.start("selective.weights", (x, dt, A, B, C, D), state)
    zero = torch.zeros_like(x)
    ones = [zero.index_fill(1, torch.tensor([s]), 1) for s in range(x.shape[1])]
    columns = [parallel(one, dt, A, B, C, D)[0].mT for one in ones]  # each [B, C, T]
    return Weights(torch.stack(columns, -1), parallel(zero, dt, A, B, C, D, h)[0])


def draw(*, B=2, T=13, C=3, N=4, seed=0, dtype=torch.float32):
    """x, dt, A, B, C, D."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    given = normal(B, T, C), softplus(normal(B, T, C) - 1), -softplus(normal(C, N))
    return tuple(z.to(dtype) for z in (*given, normal(B, T, N), normal(B, T, N), normal(C)))


MIXER = Mixer(
    contract=CONTRACT, forms=dict(loop=loop, scan=parallel), absent={},
    best=lambda *_, **__: "scan", weights=weights, draw=draw,
)  # fmt: skip
