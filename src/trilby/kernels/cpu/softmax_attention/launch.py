"""Softmax attention on a CPU: which way a call takes.

One query goes to a kernel of ours. A call without a past, documents, sinks, slopes and cap goes to
torch's own kernel, whole or in blocks as wide as the window. Every other call is computed in blocks
in torch operations.
"""

from typing import Any

import torch
from torch import Tensor

from ....algebra.attention import apart_like, as_heads, attended, gradients, unapart
from ....state import wide
from ....torch_private import flash, flash_backward
from ...ops.softmax_attention import SIZE, Call
from . import one

BAND = 128  # queries in a block with a window


def softmax_attention(*inputs: Any) -> tuple[Tensor, Tensor]:
    """The operator `trilby::softmax_attention` on a CPU.

    `log` is that of torch's kernel where it computed y for all keys, else infinite.
    """
    call = Call(*inputs)
    B, T = call.q.shape[:2]
    if one.fits(call):
        y = one.attend(call)
        return y, y.new_full((B, call.heads, T), torch.inf, dtype=wide(call.q.dtype))
    found = _banded(call) if _has_band(call) else _whole(call)
    if found is not None and _sound(*found):
        y, log = found
        return y.transpose(1, 2).to(call.v.dtype).contiguous(), log.contiguous()
    look = call.look()
    y = as_heads(attended(look, SIZE, call.limit), look, call.v)
    return y.contiguous(), look.q.new_full((B, call.heads, T), torch.inf)


def softmax_attention_backward(
    dy: Tensor, y: Tensor, log: Tensor, *inputs: Any
) -> tuple[Tensor, ...]:
    """The operator `trilby::softmax_attention_backward` on a CPU."""
    call = Call(*inputs)
    none = [dy.new_empty(0), dy.new_empty(0)]
    if log.numel() and flash_backward and not _has_band(call) and _sound(y.transpose(1, 2), log):
        q, k, v, above, out = map(_laid, (*call[:3], dy, y))
        if y.dtype != log.dtype:  # y was rounded to halves
            out, log = flash(q, k, v, None, call.scale)
        found = flash_backward(above, (q, k, v), out, log, call.scale)
        for d in found[: 2 if len(y[0]) == 1 else 1]:  # the first query sees one key, and always so
            d[:, :, 0] = 0  # exactly, where torch's kernel leaves what it rounded
        return *(x.transpose(1, 2).to(y.dtype).contiguous() for x in found), *none
    look = call.look()
    above = apart_like(dy.to(look.q.dtype), look)
    *three, dsinks, dslopes = gradients(look, above, SIZE, call.limit)
    shaped = [unapart(d).to(x.dtype).contiguous() for d, x in zip(three, call[:3], strict=True)]
    for i, (given, d) in enumerate(((call.sinks, dsinks), (call.slopes, dslopes))):
        if given is not None:
            none[i] = (d.flatten() if len(given) == call.heads else d.sum(1)).to(given.dtype)
    return *shaped, *none


def _takes(call: Call) -> bool:
    """Whether torch's kernel knows all that is asked of it."""
    more = call.place, call.low, call.sinks, call.slopes
    (H, K), (G, V) = call.q.shape[2:], call.v.shape[2:]
    fits = K == V and call.k.shape[2] == G and H % max(G, 1) == 0 and bool(call.q.numel())
    return flash is not None and fits and not call.cap and all(x is None for x in more)


def _sound(y: Tensor, log: Tensor) -> bool:
    """Whether no score was too large for torch's kernel, or all scores of a query too small.

    It gives NaN in the first case, and zeros for both in the second.
    """
    lost = log == 0
    return bool(log.isfinite().all()) and not (
        bool(lost.any()) and bool((y[lost] == 0).all(-1).any())
    )


def _laid(x: Tensor) -> Tensor:
    """[B, H, T, n] of [B, T, H, n], for torch's kernel.

    It reads wrong memory unless the n numbers lie together. Of halves it would take the smallest
    for 0, and round the weights to halves, so they go to it as float32.
    """
    x = x.to(wide(x.dtype))
    return (x if x.stride(-1) == 1 else x.contiguous()).transpose(1, 2)


def _has_band(call: Call) -> bool:
    return 0 < call.window < call.q.shape[1]


def _whole(call: Call) -> tuple[Tensor, Tensor] | None:
    """y [B, H, T, V] of all keys."""
    if not _takes(call) or flash is None:
        return None
    q, k, v = map(_laid, call[:3])
    return flash(q, k, v, None, call.scale)


def _banded(call: Call) -> tuple[Tensor, Tensor] | None:
    """y [B, H, T, V], block by block; each with its own keys, which overlap and are not copied.

    The blocks that reach the beginning are one call of their own.
    """
    T, W = call.q.shape[1], call.window
    before = -(-(W - 1) // BAND) * BAND  # keys before those of a block, in whole blocks
    many = T // BAND - before // BAND  # blocks that have so many before them
    if not _takes(call) or flash is None or many < 1:
        return None
    q, k, v = map(_laid, call[:3])  # [B, H, T, K]
    first = T - many * BAND  # at least `before`
    pairs = []
    if first:
        head = (x[:, :, :first] for x in (q, k, v))
        pairs.append(flash(*head, _band(q, first, first, W), call.scale))
    start = first - before
    blocks = q[:, :, first:].unflatten(2, (many, BAND))
    keys, values = (x[:, :, start:].unfold(2, before + BAND, BAND).mT for x in (k, v))
    mask = _band(q, BAND, before + BAND, W)
    rows = []
    for each in zip(blocks, keys, values, strict=True):  # the blocks of a row are a batch
        found = flash(*(x.transpose(0, 1) for x in each), mask, call.scale)
        rows.append([x.transpose(0, 1).flatten(1, 2) for x in found])  # [H, many * BAND, ...]
    pairs.append((torch.stack([y for y, _ in rows]), torch.stack([log for _, log in rows])))
    return torch.cat([y for y, _ in pairs], 2), torch.cat([log for _, log in pairs], 2)


def _band(like: Tensor, queries: int, keys: int, W: int) -> Tensor:
    """[queries, keys]: 0 where the last queries of so many keys see them, else -inf."""
    now = torch.arange(keys - queries, keys)[:, None]
    place = torch.arange(keys)
    seen = (place <= now) & (place > now - W)
    return torch.zeros(queries, keys, dtype=like.dtype).masked_fill(~seen, -torch.inf)
