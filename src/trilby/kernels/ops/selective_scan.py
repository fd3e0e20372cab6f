"""The operators of a selective scan.

Its gradients of a higher order are those of torch operations, position by position. The operator
for its gradient computes the first order in two passes. It is taken where no graph of it is wanted.
"""

from typing import Any

import torch
from torch import Tensor

from .in_place import direct
from .operator import Operator, one_by_one, through

Pair = tuple[Tensor, Tensor]
Some = tuple[Any, ...]


def selective_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor,
    begins: Tensor | None,
) -> Pair:  # fmt: skip
    """h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t and y_t = C_t . h_t + D x_t, and the last h.

    Shapes: x, dt [B, T, C], A [C, N], B, C [B, T, N], D [C], state [B, C, N] float64 beside
    float64, else float32, begins [B, T] bool: before which positions h becomes 0 -> y [B, T, C]
    like x, and the last state.
    """
    return FORWARD(x, dt, A, B, C, D, state, begins)


def selective_scan_inplace(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor
) -> Tensor | None:
    """y of one position, and `state` overwritten; or None, and nothing done.

    Shapes: x, dt [B, H, P], A [H, P, N], B, C [B, G, N] where H / G neighbouring heads share one,
    D [H, P], state [B, H, P, N] -> y [B, H, P]. No operator of torch: it steps aside where sizes
    or dtypes do not fit, where `in_place.direct` says so, and where N is no multiple of a vector.
    """
    given = x, dt, A, B, C, D, state
    rows, H, P, N = state.shape
    groups = B.shape[1]
    fits = x.shape == dt.shape == (rows, H, P) and B.shape == C.shape == (rows, groups, N)
    fits = fits and A.shape == (H, P, N) and D.shape == (H, P)
    fits = fits and state.numel() > 0 and groups > 0 and H % groups == 0
    if not fits or any(t.dtype != state.dtype for t in given) or not direct(*given):
        return None
    from ..cpu.selective_scan import launch

    return launch.selective_scan_inplace(*given) if launch.whole(state) else None


def _gradient(inputs: Some, seeds: Some) -> Some:
    found = (_gradients if torch.is_grad_enabled() else BACKWARD)(*seeds, *inputs)
    return *found, None


def _states(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, state: Tensor, begins: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The states before and after every position, [B, T, C, N] each."""
    h, before, after = state, [], []
    for t in range(x.shape[1]):
        h = h if begins is None else h.masked_fill(begins[:, t, None, None], 0)
        before.append(h)
        new = (dt[:, t] * x[:, t])[..., None] * B[:, t, None]
        h = (dt[:, t, :, None] * A).exp() * h + new
        after.append(h)
    return torch.stack(before, 1), torch.stack(after, 1)


def _gradients(dy: Tensor, dafter: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    """The gradients as torch operations, position by position from the end."""
    *given, begins = inputs
    state = given[6]
    if not given[0].shape[1]:
        return *(torch.zeros_like(g) for g in given[:6]), dafter
    wide = state.dtype
    dy, x, dt, A, B, C, D = (g.to(wide) for g in (dy, *given[:6]))
    before, after = _states(x, dt, A, B, state, begins)
    a, g, found = (dt[..., None] * A).exp(), dafter, []
    for t in range(x.shape[1] - 1, -1, -1):
        g = g + C[:, t, None] * dy[:, t, :, None]  # [B, C, N]
        found.append(g)
        g = a[:, t] * g
        g = g if begins is None else g.masked_fill(begins[:, t, None, None], 0)
    every = torch.stack(found[::-1], 1)  # [B, T, C, N]
    logs, u = every * a * before, dt * x
    du = (every * B[:, :, None]).sum(-1)
    results = (
        du * dt + D * dy,
        du * x + (logs * A).sum(-1),
        (logs * dt[..., None]).sum((0, 1)),
        (every * u[..., None]).sum(2),
        (after * dy[..., None]).sum(2),
        (dy * x).sum((0, 1)),
        g,
    )
    return tuple(r.to(g.dtype) for r, g in zip(results, given, strict=True))


def _tangent(inputs: Some, tangents: Some) -> Pair:
    """What the results move by when the arguments move by the tangents."""
    *given, begins = inputs
    moved = [
        torch.zeros_like(g) if t is None else t for g, t in zip(given, tangents[:7], strict=True)
    ]
    wide = given[6].dtype
    x, dt, A, B, C, D, h = (g.to(wide) for g in given)
    dx, ddt, dA, dB, dC, dD, dh = (m.to(wide) for m in moved)
    y = []
    for t in range(x.shape[1]):
        if begins is not None:
            h, dh = (z.masked_fill(begins[:, t, None, None], 0) for z in (h, dh))
        now, length = x[:, t], dt[:, t, :, None]
        a, new = (length * A).exp(), (length[..., 0] * now)[..., None]
        dlog = ddt[:, t, :, None] * A + length * dA
        dnew = (ddt[:, t] * now + length[..., 0] * dx[:, t])[..., None]
        dh = a * (dh + dlog * h) + dnew * B[:, t, None] + new * dB[:, t, None]
        h = a * h + new * B[:, t, None]
        read = (dh * C[:, t, None] + h * dC[:, t, None]).sum(-1)
        y.append(read + D * dx[:, t] + dD * now)
    return torch.stack(y, 1).to(given[0].dtype) if y else moved[0], dh


def _fake(
    x: Tensor, _dt: Tensor, _A: Tensor, _B: Tensor, _C: Tensor, _D: Tensor, state: Tensor,
    _begins: Tensor | None,
) -> Pair:  # fmt: skip
    return torch.empty_like(x), state.new_empty(state.shape)


def _backward_fake(_dy: Tensor, _dafter: Tensor, *inputs: Any) -> Some:
    return tuple(x.new_empty(x.shape) for x in inputs[:7])


FORWARD = Operator(
    "selective_scan(Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor D, Tensor state,"
    " Tensor? begins) -> (Tensor, Tensor)",
    fake=_fake,
    kernels={"CPU": "..cpu.selective_scan.launch"},
    gradient=_gradient,
    tangent=_tangent,
    batched=one_by_one,
)
BACKWARD = Operator(
    "selective_scan_backward(Tensor dy, Tensor dafter, Tensor x, Tensor dt, Tensor A, Tensor B,"
    " Tensor C, Tensor D, Tensor state, Tensor? begins)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    fake=_backward_fake,
    kernels={"CPU": "..cpu.selective_scan.launch"},
    gradient=through(_gradients),
    tangent=None,  # where forward mode is wanted, gradients are torch operations
    batched=one_by_one,
)
