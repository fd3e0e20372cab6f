"""Linear attention on a CPU: s_t = s_{t-1} + k_t v_t^T, read as y_t = s_t^T q_t / (z_t . q_t).

Sequences are unpacked into float64, in which everything is computed, and results are rounded once.
The gradients are three passes of the same program. That of the normaliser is found on the way of
the gradient of q: it is what that gradient has in the direction of q, which has no effect on y.
"""

from typing import Any

from torch import Tensor

from ..recurrence.launch import fresh, launch, size_of
from .passes import OF_K, OF_Q, OF_V, OUTPUT, PASS, PLAIN, pass_places

Results = tuple[Tensor, ...]


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, memory: Tensor, keys: Tensor, begins: Tensor | None,
    normalize: bool,
) -> Results:  # fmt: skip
    """The operator `trilby::linear_attention` on a CPU."""
    (B, T), (H, V) = q.shape[:2], memory.shape[1::2]
    y, after, summed = fresh(v, (B, T, H, V)), fresh(memory, memory.shape), keys.clone()
    none = keys.new_zeros(()).expand(B, T, H, 1)
    ends = memory, after, _column(keys), _column(summed)
    tensors = (k, v, q, v, _flags(begins, none), none, none, *ends, y)
    way = OUTPUT if normalize else OUTPUT + PLAIN
    launch(PASS, tensors, (k, y, memory), size_of(memory, T, H), pass_places, way)
    return y, after, summed


def linear_attention_backward(
    dy: Tensor, dmemory: Tensor, dkeys: Tensor, q: Tensor, k: Tensor, v: Tensor, *others: Any
) -> Results:
    """The operator `trilby::linear_attention_backward` on a CPU."""
    memory, keys, begins, normalize = others
    T, H, plain = q.shape[1], memory.shape[1], 0 if normalize else PLAIN
    few = any(t.shape[2] != H for t in (q, k, v))  # results are sums of several heads
    dq, dk, dv = (fresh(memory if few else t, t.shape) for t in (q, k, v))
    before, first = fresh(memory, memory.shape), dkeys.clone()
    ratio, turn = (keys.new_empty(*q.shape[:2], H, 1) for _ in range(2))
    told = _flags(begins, ratio), ratio, turn
    there, back = (_column(keys), _column(keys.clone())), (_column(dkeys), _column(first))

    def go(way: int, read: Results, ends: Results, y: Tensor) -> None:
        size = size_of(ends[0], T, y.shape[2])
        kinds, whole = (q, y, memory), way != OF_V
        launch(PASS, (*read, *told, *ends, y), kinds, size, pass_places, way + plain, whole)

    go(OF_Q, (v, k, dy, q), (memory.mT, memory.mT, *there), dq)
    go(OF_V, (q, dy, k, q), (dmemory, before, *back), dv)
    go(OF_K, (dy, q, v, q), (dmemory.mT, dmemory.mT, *back), dk)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), before, first


def _flags(begins: Tensor | None, none: Tensor) -> Tensor:
    """Where documents begin, [B, T, 1, 1], in the dtype of the state."""
    return (
        none.new_zeros(()).expand_as(none) if begins is None else begins.to(none)[..., None, None]
    )


def _column(keys: Tensor) -> Tensor:
    """The sum of keys [B, H, K] as the one column of a state."""
    return keys[..., None].expand(-1, -1, -1, 2)
