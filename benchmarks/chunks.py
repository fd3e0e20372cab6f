"""What torch can do for a memory that fades: the peers of `trilby.decay`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import trilby

Result = tuple[Tensor, Tensor]
SIZES = (16, 32, 64, 128)  # of chunks; the best of them is the peer


@dataclass(frozen=True)
class Peer:
    """A way to compute decay.

    Attributes:
        name: what it is.
        form: q, k, v, g -> y and the last state.
        way: the call, with whatever can be prepared beforehand.
    """

    name: str
    form: Callable[..., Result]
    way: Callable[[], Any]


def every(arguments: tuple[Tensor, ...], sizes: tuple[int, ...] = SIZES) -> Iterator[Peer]:
    """Chunk by chunk, as our form does it, and all chunks at once."""
    T = arguments[0].shape[1]
    for size in (n for n in sizes if n < T):
        ours, whole = partial(trilby.decay.chunk, size=size), partial(at_once, size=size)
        yield Peer(f"trilby.decay.chunk, {size}", ours, partial(ours, *arguments))
        if T % size == 0:
            yield Peer(f"torch, all chunks of {size} at once", whole, partial(whole, *arguments))


def at_once(q: Tensor, k: Tensor, v: Tensor, g: Tensor, *, size: int) -> Result:
    """The triangles of all chunks as one batched product, then the states from chunk to chunk.

    T is a multiple of the size, and heads are not shared.
    """
    B, T, H, K = q.shape
    n = T // size
    q, k, v = (
        x.unflatten(1, (n, size)).permute(0, 3, 1, 2, 4).reshape(B * H * n, size, -1)
        for x in (q, k, v)
    )
    sums = g.unflatten(1, (n, size)).permute(0, 3, 1, 2).reshape(B * H * n, size).cumsum(-1)
    ones = torch.ones(size, size, dtype=torch.bool)
    apart = (sums[:, :, None] - sums[:, None, :]).masked_fill(~ones.tril(), -torch.inf)
    inside = torch.bmm(torch.bmm(q, k.mT) * apart.exp(), v)  # [B H n, size, V]
    left = k * (sums[:, -1:] - sums).exp()[..., None]
    added = torch.bmm(left.mT, v).view(B, H, n, K, -1)
    fades = sums[:, -1].exp().view(B, H, n, 1, 1)
    state, before = added.new_zeros(added[:, :, 0].shape), []
    for i in range(n):
        before.append(state)
        state = fades[:, :, i] * state + added[:, :, i]
    past = torch.bmm(q * sums.exp()[..., None], torch.stack(before, 2).view(B * H * n, K, -1))
    y = (inside + past).view(B, H, n, size, -1).permute(0, 2, 3, 1, 4)
    return y.reshape(B, T, H, -1), state


def of_transformers(
    arguments: tuple[Tensor, ...], sizes: tuple[int, ...] = SIZES
) -> Iterator[Peer]:
    """The torch path of its Mamba-2, which takes steps dt > 0, and v and g divided by them."""
    from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan

    def prepared(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        return v / -g[..., None], -g, -torch.ones(g.shape[2]), k, q

    def form(*given: Tensor, size: int) -> Result:
        y, state = mamba2_chunk_scan(*prepared(*given), size, return_final_states=True)
        return y, state.mT

    ready = prepared(*arguments)
    for size in (n for n in sizes if n < arguments[0].shape[1]):
        way = lambda n=size: mamba2_chunk_scan(*ready, n, return_final_states=True)
        yield Peer(f"transformers, mamba2_chunk_scan, {size}", partial(form, size=size), way)
