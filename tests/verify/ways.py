"""The notebook's three forms, in the dtype of x and in float32; a layer with any backward."""

import torch
from torch.nn import functional as F

from trilby.cli.tour.notebook import by_loop, by_matrix, by_softmax

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def loop32(x):
    B, T, C = x.shape
    xbow = torch.zeros(B, T, C, dtype=torch.float32)
    for b in range(B):
        for t in range(T):
            xbow[b, t] = torch.mean(x[b, : t + 1].float(), 0)
    return xbow


def matrix32(x):
    T = x.shape[1]
    wei = torch.tril(torch.ones(T, T, dtype=torch.float32))
    return (wei / torch.sum(wei, 1, keepdim=True)) @ x.float()


def softmax32(x):
    T = x.shape[1]
    wei = torch.zeros(T, T, dtype=torch.float32)
    wei = wei.masked_fill(torch.tril(torch.ones(T, T)) == 0, float("-inf"))
    return F.softmax(wei, dim=-1) @ x.float()


SPELLINGS = {
    "the dtype of x": (by_loop, by_matrix, by_softmax),
    "float32": (loop32, matrix32, softmax32),
}


def drawn(seed, *shape, dtype=torch.float32):
    """The notebook's x for a seed: [4, 8, 2] unless told."""
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (4, 8, 2)), generator=numbers).to(dtype)


class Passes(torch.autograd.Function):
    """The identity; `back` makes of what comes from above what goes to x."""

    @staticmethod
    def forward(ctx, x, back):
        ctx.back = back
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return ctx.back(dy), None
