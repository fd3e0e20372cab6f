"""What Mamba's functions do before and after the recurrence: time steps, and the gate z."""

import torch.nn.functional as F
from torch import Tensor

from ..state import wide

LIMIT = (0.0, float("inf"))  # between which steps are kept unless a layer says otherwise


def fine(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x.to(wide(x.dtype))


def steps(
    dt: Tensor,
    bias: Tensor | None,
    softplus: bool,
    limit: tuple[float, float] | None = None,
) -> Tensor:
    """Time steps: dt + bias, their softplus, kept between the limits, if there are any.

    >>> steps(torch.tensor([-2.0, 3.0]), torch.tensor(1.0), False, (0.0, 3.5)).tolist()
    [0.0, 3.5]
    """
    if bias is not None or softplus:
        dt = fine(dt)
    dt = dt if bias is None else dt + bias
    dt = F.softplus(dt) if softplus else dt
    if limit is None:
        return dt
    low, high = limit
    if softplus and low <= 0:  # a softplus is never below 0
        return dt if high == float("inf") else dt.clamp(max=high)
    return dt.clamp(low, high)


def gated(y: Tensor, z: Tensor | None) -> Tensor:
    """y silu(z) in the dtype of y, or y where there is no gate."""
    if z is None:
        return y
    dtype = wide(y.dtype)
    return (y.to(dtype) * F.silu(z.to(dtype))).to(y.dtype)
