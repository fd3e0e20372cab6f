"""One query: from tensors to the program, and from the pieces of time to y."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ....state import wide
from ...machine import threads
from ...ops.softmax_attention import Call
from ...simd.elements import ELEMENT
from ...simd.places import gaps
from ...simd.vector import lanes
from ..recurrence.launch import run, starts_of
from .query import QUERY, Lines, Sizes, places

SPAN = 256  # keys in a piece of time; the sums of a row depend on it and on no number of threads
SMALL = 1 << 16  # numbers to read, below which starting a thread costs more than it saves

_ZEROS = (0, 0, 0)


def fits(call: Call) -> bool:
    """Whether it is one query, with keys and values that have the same heads, shared or not."""
    (_, T, H, _), (_, N, G, _) = call.q.shape, call.k.shape
    alike = call.v.shape[2] == G and call.heads == H and G > 0 and H % G == 0
    return T == 1 and N > 0 and alike and call.q.numel() > 0 and call.v.numel() > 0


def attend(call: Call) -> Tensor:
    """y [B, 1, H, V] of one query."""
    B, _, H, K = call.q.shape
    kind: Any = ELEMENT[wide(call.q.dtype)]
    (_, N, G, V), L = call.v.shape, lanes(kind, 2)
    wide_k, wide_v = (-(-n // L) * L for n in (K, V))
    asked = call.slopes is not None, bool(call.cap), call.place is not None
    size = Sizes(
        N, G, H // G, K, V, wide_k, wide_v, -(-N // SPAN), SPAN, L, *asked, _direct(call, L)
    )
    q = call.q[:, 0].to(wide(call.q.dtype))  # [B, H, K]
    unit = q.abs().amax(-1).clamp(min=1)
    out = q.new_empty(B, size.pieces, G, H // G, wide_v + 2)
    slopes = q.new_zeros(1) if call.slopes is None else _each(call.slopes, H).to(q.dtype)
    place, low = _where(call, B, N)
    told = Lines(pad(q / unit[..., None] * call.scale, (0, wide_k - K)).contiguous(),
                 unit, slopes, q.new_full((1,), call.cap), place, low, out)  # fmt: skip
    _launch(call, size, told)
    most, total, read = out[..., wide_v], out[..., wide_v + 1], out[..., :V]
    return _joined(most, total, read, unit.view(B, 1, G, -1), call).to(call.v.dtype)


def _each(bias: Tensor, H: int) -> Tensor:
    """[H] of H numbers, or of one for each group."""
    return bias.repeat_interleave(H // len(bias)).contiguous()


def _where(call: Call, B: int, N: int) -> tuple[Tensor, Tensor]:
    """The places of the keys and the lowest that is seen, for every row."""
    if call.place is None or call.low is None:
        return torch.zeros(B, N, dtype=torch.int64), torch.zeros(B, dtype=torch.int64)
    return call.place.expand(B, N).contiguous(), call.low[:, 0].expand(B).contiguous()


def _launch(call: Call, size: Sizes, told: Lines) -> None:
    between = gaps(places(size))
    numbers = [n for t in call[1:3] for n in (t.data_ptr(), *t.stride(), t.shape[2])]
    numbers += (*(t.data_ptr() for t in told), *size, *starts_of(between), *_ZEROS)
    B = call.q.shape[0]
    wanted = threads.count() if call.k.numel() >= SMALL else 1
    some = threads.shares(size.groups, -(-wanted // (B * size.pieces)))
    parts = [(b, piece, *g) for b in range(B) for piece in range(size.pieces) for g in some]
    program = QUERY.of(ELEMENT[call.k.dtype])
    run(program, numbers, (parts, wanted), between, told.q, (call, told))


def _joined(most: Tensor, total: Tensor, read: Tensor, unit: Tensor, call: Call) -> Tensor:
    """The pieces of time [B, pieces, G, R], and the sinks: y [B, 1, H, V]."""
    B, _, G, R = most.shape
    top = most.amax(1, keepdim=True)
    sinks = None
    if call.sinks is not None:
        sinks = _each(call.sinks, G * R).to(most.dtype).view(1, 1, G, R) / unit
        top = torch.maximum(top, sinks)
    top = top.clamp(min=torch.finfo(top.dtype).min)  # -inf - -inf would be NaN
    less = ((most - top) * unit).exp()
    whole = (less * total).sum(1)
    if sinks is not None:
        whole = whole + ((sinks - top) * unit).exp()[:, 0]
    y = (less[..., None] * read).sum(1) / whole.masked_fill(whole == 0, 1)[..., None]
    return y.reshape(B, 1, G * R, -1)


def _direct(call: Call, lanes: int) -> bool:
    """Whether rows of k and v are whole vectors, of numbers that are computed with."""
    rows = (t.stride(3) == 1 and t.shape[3] % lanes == 0 for t in (call.k, call.v))
    return call.k.dtype == wide(call.k.dtype) and all(rows)
