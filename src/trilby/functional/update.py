"""mamba-ssm: one position of a stream, for the first Mamba and for Mamba-2."""

import torch
from torch import Tensor

from ..errors import ShapeError
from ..kernels import ops
from ..state import wide
from .refuse import refuse
from .sizes import fit, share
from .steps import gated, steps


def selective_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    state_batch_indices: Tensor | None = None,
) -> Tensor:
    """One position, as `mamba_ssm.ops.triton.selective_state_update.selective_state_update`.

    Args:
        state: [B, D, N], or with heads [B, H, D, N]; it is moved on in place.
        x, dt: [B, D], or [B, H, D]; dt before `dt_bias` [D] or [H, D] and softplus.
        A: [D, N], or [H, D, N] rates of decay.
        B, C: [B, N], or [B, G, N] where H / G neighbouring heads share them.
        D: [D], or [H, D] what passes by.
        z: as x, a gate; the output is multiplied by silu(z).
        state_batch_indices: not supported.

    Returns:
        As x.

    Gradients pass to every argument but the state.

    Cost: time O(B H D N). Where A and dt are one number for each head, given by `expand`, one
    decay is computed for a head and not for each number of its state.

    >>> from trilby.functional import selective_state_update
    >>> state, one = torch.zeros(1, 1, 1), torch.ones(1, 1)
    >>> [selective_state_update(state, one, one, 0 * one, one, one).item() for _ in range(3)]
    [1.0, 2.0, 3.0]
    """
    where = "selective_state_update"
    refuse(where, state_batch_indices=state_batch_indices)
    _fit(where, dict(state=state, x=x, dt=dt, A=A, B=B, C=C, D=D, z=z, dt_bias=dt_bias))
    return moved(where, state, (x, dt, A, B, C), (D, z), (dt_bias, dt_softplus, None))


Step = tuple[Tensor | None, bool, tuple[float, float] | None]  # bias, softplus, limits


def moved(
    where: str,
    state: Tensor,
    given: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    rest: tuple[Tensor | None, Tensor | None],
    step: Step,
) -> Tensor:
    """The same for x, dt, A, B, C and D, z; time steps are kept between limits."""
    (x, dt, A, B, C), (D, z), (bias, softplus, limit) = given, rest, step
    if state.ndim == 4:
        y = _moved(where, state, given, D, step)
        return gated(y, z).to(x.dtype)
    heads = (x[:, None], dt[:, None], A[None], B[:, None], C[:, None])
    step = None if bias is None else bias[None], softplus, limit
    y = _moved(where, state[:, None], heads, D, step)[:, 0]
    return gated(y, z).to(x.dtype)


def _fit(where: str, given: dict[str, Tensor | None]) -> None:
    """An error unless all sizes fit each other."""
    names = "state=B D N, x=B D, dt=B D, A=D N, B=B N, C=B N, D=D, z=B D, dt_bias=D"
    heads = given["state"] is not None and given["state"].ndim == 4
    if heads:
        names = (
            "state=B H D N, x=B H D, dt=B H D, A=H D N, B=B G N, C=B G N, D=H D, z=B H D, "
            "dt_bias=H D"
        )
    letters = dict(pair.split("=") for pair in names.split(", "))
    known: dict[str, int] = {}
    fit(where, known, **{name: (given[name], letters[name]) for name in letters})
    if heads:
        share(where, "G", "H", known)


def _moved(
    where: str, state: Tensor, given: tuple[Tensor, ...], D: Tensor | None, step: Step
) -> Tensor:
    """y [B, H, D] before the gate; the state [B, H, D, N] is moved on."""
    (x, dt, A, B, C), (bias, softplus, limit) = given, step
    H, G = state.shape[1], B.shape[1]
    if state.ndim != 4 or H % max(G, 1):
        raise ShapeError(
            f"{where}: state is {list(state.shape)} and B {list(B.shape)}, expected [B, D, N] and "
            "[B, N], or [B, H, D, N] and [B, G, N] where G divides H"
        )
    dtype = wide(x.dtype)
    if _one_for_each_head(A, dt, bias):
        dt, A = dt[..., :1], A[:, :1, :1]  # [B, H, 1], [H, 1, 1]
        bias = None if bias is None else bias[:, :1]
    dt = steps(dt.to(dtype), bias, softplus, limit)
    y = _in_place(state, (x, dt, A, B, C), D)
    if y is not None:
        return y
    spread = lambda t: t.to(dtype).repeat_interleave(H // G, 1)[:, :, None]  # [B, H, 1, N]
    fade = torch.exp(dt[..., None] * A.to(dtype))
    write, key = (dt * x.to(dtype))[..., None], spread(B)  # [B, H, D, 1], [B, H, 1, N]
    if state.dtype == dtype and not torch.is_grad_enabled():
        after = state.mul_(fade).addcmul_(write, key)  # no memory is made for it
    else:
        before = state.detach().to(dtype)
        if fade.requires_grad:  # the way back needs what is overwritten here
            before = before.clone()
        after = torch.addcmul(before * fade, write, key)
        state.detach().copy_(after.detach())
    y = (after @ spread(C).mT)[..., 0]
    return y if D is None else y + x.to(dtype) * D


def _in_place(state: Tensor, given: tuple[Tensor, ...], D: Tensor | None) -> Tensor | None:
    """The same by the kernel, or None where it steps aside."""
    dtype = state.dtype
    if dtype != wide(given[0].dtype):
        return None
    x, dt, A, B, C = (t if t.dtype == dtype else t.to(dtype) for t in given)
    past = state.new_zeros(1, 1) if D is None else D.to(dtype)
    _, H, P, N = state.shape
    each = x, dt.expand(x.shape), A.expand(H, P, N), B, C, past.expand(H, P)
    return ops.selective_scan_inplace(*each, state)


def _one_for_each_head(A: Tensor, dt: Tensor, bias: Tensor | None) -> bool:
    """Whether rates and steps are the same in a head, as expanded tensors show it."""
    tied = A.stride(-1) == A.stride(-2) == dt.stride(-1) == 0
    return tied and (bias is None or bias.stride(-1) == 0)
