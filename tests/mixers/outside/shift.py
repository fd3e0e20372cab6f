"""The token shift of RWKV: a mixer outside of the package, with a parameter and a bias."""

import torch
from torch import Tensor

from trilby import Contract, Mixer, Weights
from trilby.contract import SAME

CONTRACT = Contract(
    "shift", x="B T C", share="C", bias=("C", None), state=dict(state=("B C", SAME)),
    documents=False,
)  # fmt: skip


def loop(
    x: Tensor, share: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """y_t = share x_t + (1 - share) x_{t-1} + bias, the state being the last input.

    Cost: O(B T C).
    """
    before, _, _ = CONTRACT.start("shift.loop", (x, share, bias), state)
    y = []
    for now in x.unbind(1):
        y.append(share * now + (1 - share) * before)
        before = now
    summed = torch.stack(y, 1) if y else x.clone()
    return summed if bias is None else summed + bias, before  # at once: its gradient is one sum


def chunk(
    x: Tensor, share: Tensor, bias: Tensor | None = None, state: Tensor | None = None, *,
    size: int = 64,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Two products of `size` positions at a time.

    Cost: O(B T C).
    """
    before, _, _ = CONTRACT.start("shift.chunk", (x, share, bias), state)
    y = [x[:, :0]]
    for part in x.split(size, 1) if x.shape[1] else ():
        whole = torch.cat([before[:, None], part], 1)  # [B, 1 + n, C]
        y.append(torch.lerp(whole[:, :-1], whole[:, 1:], share))
        before = whole[:, -1]
    mixed = torch.cat(y, 1)
    return mixed if bias is None else mixed + bias, before


def weights(
    x: Tensor, share: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> Weights:
    """Two diagonals for each channel. Cost: O(B C T^2)."""
    before, _, _ = CONTRACT.start("shift.weights", (x, share, bias), state)
    T = x.shape[1]
    one = torch.eye(T, dtype=x.dtype)
    late = torch.ones(T, T, dtype=x.dtype).tril(-1).triu(-1)
    wei = share[:, None, None] * one + (1 - share)[:, None, None] * late
    past = torch.zeros_like(x)
    past[:, :1] = ((1 - share) * before)[:, None]
    return Weights(wei.expand(len(x), -1, -1, -1), past if bias is None else past + bias)


def draw(*, B=2, T=13, C=3, seed=0, dtype=torch.float32):
    """x, shares around a half, and a bias."""
    rng = torch.Generator().manual_seed(seed)
    sizes = ((B, T, C), (C,), (C,))
    x, share, bias = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in sizes)
    return x.to(dtype), share.sigmoid().to(dtype), bias.to(dtype)


MIXER = Mixer(
    contract=CONTRACT, forms=dict(loop=loop, chunk=chunk), absent={},
    best=lambda *_, **__: "chunk", weights=weights, draw=draw,
)  # fmt: skip
