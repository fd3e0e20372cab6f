"""A short causal convolution: a mixer outside of the package, with a kernel and a bias."""

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from trilby import Contract, Mixer, Weights
from trilby.contract import SAME

CONTRACT = Contract(
    "conv", x="B T C", kernel="C W", bias=("C", None), state=dict(state=("B W C", SAME)),
    documents=False,
)  # fmt: skip


def loop(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """y_t = kernel_0 x_{t-W+1} + ... + kernel_{W-1} x_t + bias, the state being the last W inputs.

    Cost: O(B T C W).
    """
    window, _, _ = CONTRACT.start("conv.loop", (x, kernel, bias), state)
    y = []
    for t in range(x.shape[1]):
        window = torch.cat([window[:, 1:], x[:, t : t + 1]], 1)  # [B, W, C]
        y.append((window * kernel.mT).sum(1))
    summed = torch.stack(y, 1) if y else x.clone()
    return summed if bias is None else summed + bias, window  # at once: its gradient is one sum


def chunk(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None, state: Tensor | None = None, *,
    size: int = 64,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """A convolution of `size` positions at a time.

    Cost: O(B T C W).
    """
    window, _, _ = CONTRACT.start("conv.chunk", (x, kernel, bias), state)
    W, y = kernel.shape[1], [x[:, :0]]
    for part in x.split(size, 1) if x.shape[1] else ():
        whole = torch.cat([window, part], 1)  # [B, W + n, C]
        y.append(conv1d(whole[:, 1:].mT, kernel[:, None], bias, groups=len(kernel)).mT)
        window = whole[:, whole.shape[1] - W :]
    return torch.cat(y, 1), window


def weights(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> Weights:
    """One band of the kernel for each channel. Cost: O(B C T^2)."""
    window, _, _ = CONTRACT.start("conv.weights", (x, kernel, bias), state)
    T, W = x.shape[1], kernel.shape[1]
    zero = x.new_zeros(len(x), T, x.shape[2])
    past = chunk(zero, kernel, bias, window)[0]
    band = torch.stack([kernel.flip(1)[:, d] if d < W else 0 * kernel[:, 0] for d in range(T)], 1)
    apart = torch.arange(T)[:, None] - torch.arange(T)
    wei = band[:, apart.clamp(min=0)].masked_fill(apart < 0, 0)  # [C, T, T]
    return Weights(wei.expand(len(x), -1, -1, -1), past)


def draw(*, B=2, T=13, C=3, W=4, seed=0, dtype=torch.float32):
    """x, a kernel and a bias."""
    rng = torch.Generator().manual_seed(seed)
    sizes = ((B, T, C), (C, W), (C,))
    return tuple(torch.randn(*s, generator=rng, dtype=torch.float64).to(dtype) for s in sizes)


MIXER = Mixer(
    contract=CONTRACT, forms=dict(loop=loop, chunk=chunk), absent={},
    best=lambda *_, **__: "chunk", weights=weights, draw=draw,
)  # fmt: skip
