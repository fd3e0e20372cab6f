"""Functions of a piece of a sequence, as users write them: a running sum that is right or wrong."""

import os
from pathlib import Path

import torch
import torch.distributed as dist


class Gather(torch.autograd.Function):
    """The sums of all ranks."""

    @staticmethod
    def forward(ctx, own, group):
        ctx.group = group
        every = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
        dist.all_gather(every, own, group=group)
        return torch.stack(every)

    @staticmethod
    def backward(ctx, grads):
        grads = grads.contiguous()
        dist.all_reduce(grads, group=ctx.group)
        return grads[dist.get_rank(ctx.group)], None


def total(x, group=None):
    """Right: the sum so far."""
    every = Gather.apply(x.sum(1), group)
    return x.cumsum(1) + every[: dist.get_rank(group)].sum(0)[:, None]


def lost(x, group=None):
    """Wrong: no gradient crosses a border."""
    every = Gather.apply(x.detach().sum(1), group)
    return x.cumsum(1) + every[: dist.get_rank(group)].sum(0)[:, None]


def everywhere(x):
    """Right, among all processes."""
    return total(x)


def plain(x):
    """What one process computes."""
    return x.cumsum(1)


def even(x, group=None):
    """Refuses pieces of different lengths."""
    lengths = Gather.apply(torch.tensor([float(x.shape[1])]), group)
    if len({*lengths.flatten().tolist()}) > 1:
        raise ValueError("the pieces differ in length")
    return total(x, group)


def stuck(x, group=None):
    """Rank 1 leaves out the exchange; it says in a file that it was here."""
    if dist.get_world_size(group) > 1 and dist.get_rank(group) == 1:
        Path(os.environ["TRILBY_TEST_HERE"]).touch()
        return x.cumsum(1)
    return total(x, group)


class Scaled(torch.nn.Module):
    """Right, with a parameter that every rank holds."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.rand(3))

    def forward(self, x, group=None):
        return total(self.scale * x, group)
