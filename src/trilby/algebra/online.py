"""Softmax attention of queries that meet their keys in blocks, one after the other.

What a query has seen so far is a triple: the largest score, the sum of the exponentials, and the
average of the values (online softmax). On the way back the blocks come again.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..torch_private import flash, flash_backward
from .attention import Averages, Look, averaged, joined, looked, product, pulled, scores
from .groups import apart


class Gradients(NamedTuple):
    """Where gradients are added up, in the dtype to compute in."""

    q: Tensor  # as q in the look, before its scale
    k: Tensor
    v: Tensor
    sinks: Tensor  # [G, R]
    slopes: Tensor  # [G, R]


def asking(
    sequences: Sequence[Tensor], bias: Sequence[Tensor | None], low: Tensor, scale: float,
    cap: float | None,
) -> Look:  # fmt: skip
    """Queries that have met no keys.

    Args:
        sequences: q [B, T, n, K], and k and v, of which the shapes and the dtype count.
        bias: sinks and slopes, [n] or None.
        low: [B or 1, T], the lowest place that a query sees; that of the first query is 0.
    """
    q, k, v = sequences
    nowhere = torch.zeros(1, 0, dtype=torch.int64, device=q.device)
    return looked((q, k[:, :0], v[:, :0]), bias, (nowhere, low), scale, cap)


def meeting(look: Look, k: Tensor, v: Tensor, place: Tensor) -> Look:
    """Queries with one block of keys, k [B, n, G, K] and v [B, n, G, V] at places [B or 1, n]."""
    G, R = look.heads
    k, v = (apart(x.to(look.q.dtype), G * R, G) for x in (k, v))
    return look._replace(k=k, v=v, place=place)


def unseen(look: Look) -> Averages:
    """The averages of queries that have met no keys."""
    B, _, _, T, _ = look.q.shape
    zero = look.unit.new_zeros(B, *look.heads, T, 1)
    least = torch.finfo(zero.dtype).min
    return Averages(zero + least, zero, zero.expand(*zero.shape[:4], look.v.shape[-1]).clone())


def add_keys(found: Averages, look: Look, start: int, size: int) -> None:
    """Add the keys of a look to what its queries have seen.

    Args:
        found: is changed.
        look: as of `meeting`.
        start: no key has a lower place, if they are in the order of time; any key if it is below
            the places of all queries.
        size: of a block.
    """
    if (sight := _sight(look, start)) and (part := _flashed(look, sight)):
        _join(found, look, slice(None), part)
        return
    for t, n in _blocks(look, start, size):
        _join(found, look, t, averaged(look, scores(look, t, n), t, n))


def _join(found: Averages, look: Look, t: slice, part: Averages) -> None:
    here = Averages(*(x[..., t, :] for x in found))
    for old, new in zip(here, joined(here, part, look.unit[..., t, :]), strict=True):
        old.copy_(new)


def add_gradients(
    into: Gradients, look: Look, final: Averages, dy: Tensor, start: int, size: int
) -> None:
    """Add the gradients that come from one block of keys.

    Args:
        into: is changed.
        look: as of `meeting`. final: the triple after all keys and the sinks.
        dy: [B, G, R, T, V].
        start, size: as of `add_keys`.
    """
    if (sight := _sight(look, start)) and (found := _flashed_back(look, final, dy, sight)):
        for total, part in zip(into, found, strict=False):
            total += part
        return
    mean = (dy * final.y).sum(-1, keepdim=True)
    for t, n in _blocks(look, start, size):
        w = _shares(scores(look, t, n), look, final, t)
        dw = product(dy[..., t, :], look.v[..., n, :].mT)
        ds = w * (dw - mean[..., t, :])
        pulled(look, (t, n), (w, ds, dy[..., t, :]), (into.q, into.k, into.v, into.slopes))


def add_gradient_of_sinks(into: Tensor, look: Look, final: Averages, dy: Tensor) -> None:
    """Add the gradient of the sinks, which are a key more for each query, without a value."""
    if look.sinks is not None:
        w = _shares(look.sinks, look, final, slice(None))
        into.sub_((w * (dy * final.y).sum(-1, keepdim=True)).sum((0, 3, 4)))


def _shares(score: Tensor, look: Look, final: Averages, t: slice) -> Tensor:
    """The weights of queries t from scores in units, after all keys have been seen."""
    total = final.total[..., t, :]
    e = ((score - final.m[..., t, :]) * look.unit[..., t, :]).exp()
    return e / total.masked_fill(total == 0, 1)


def _blocks(look: Look, start: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of queries and of keys, without those whose keys are later than their queries."""
    T, N = look.q.shape[3], look.k.shape[3]
    for t in range(0, T, size):
        last = min(t + size, T)
        for n in range(0, N, size):
            if start + n < last:
                yield slice(t, last), slice(n, min(n + size, N))


def _sight(look: Look, start: int) -> str:
    """What torch's kernel on a CPU calls how these queries see these keys; "" if it has no word.

    "all": every query sees every key. "causal": query t sees the keys 0 ... t.
    """
    q, k, v, place = look.q, look.k, look.v, look.place
    plain = look.cap is None and look.slopes is None and flash is not None
    shared = q.shape[2] == look.heads[1] and k.shape[2] == v.shape[2] == 1
    fits = q.device.type == "cpu" and shared and k.shape[-1] == v.shape[-1]
    if not (plain and fits and q.numel() and k.numel()):
        return ""
    low = int(look.low.max())
    if int(place.max()) <= 0 and low <= int(place.min()):
        return "all"
    return "causal" if low <= start == 0 and q.shape[3] == k.shape[3] else ""


def _laid(look: Look) -> tuple[Tensor, Tensor, Tensor]:
    """q [B, H, T, K] times the scale, k [B, G, N, K] and v, each number beside the next one."""
    q = (look.q * look.unit).flatten(1, 2)
    return q, look.k[:, :, 0].contiguous(), look.v[:, :, 0].contiguous()


def _flashed(look: Look, sight: str) -> Averages | None:
    """The averages by torch's kernel; None where a score is too large for it, or all too small."""
    y, log = flash(*_laid(look), None, 1.0, sight == "causal")
    if not bool(log.isfinite().all()) or bool((log == 0).any()):
        return None
    log = log.unflatten(1, look.heads)[..., None]
    return Averages(log / look.unit, torch.ones_like(log), y.unflatten(1, look.heads))


def _flashed_back(
    look: Look, final: Averages, dy: Tensor, sight: str
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The gradients of q, k and v by torch's kernel, from the triple after all keys."""
    log = (final.m * look.unit + final.total.log()).squeeze(-1).flatten(1, 2)
    if not bool(log.isfinite().all()):
        return None
    y, above = (x.flatten(1, 2) for x in (final.y, dy))
    dq, dk, dv = flash_backward(above, _laid(look), y, log, 1.0, sight == "causal")
    return dq.unflatten(1, look.heads) * look.scale, dk.unsqueeze(2), dv.unsqueeze(2)
