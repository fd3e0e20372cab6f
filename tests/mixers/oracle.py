"""Running means by numpy in long double: written with nothing of ours and nothing of torch."""

import numpy as np
import torch
from torch import Tensor


def running_mean(x: Tensor, total: Tensor | None = None, count: Tensor | None = None):
    """(y, scale): the exact means, and the means of the magnitudes, which bound the rounding."""
    v = x.detach().double().numpy().astype(np.longdouble)
    start = np.zeros((x.shape[0], x.shape[2])) if total is None else total.numpy()
    before = np.zeros(x.shape[0], int) if count is None else count.numpy()
    start = start.astype(np.longdouble)[:, None]
    n = before.astype(np.longdouble)[:, None, None] + np.arange(1, x.shape[1] + 1)[:, None]
    return (start + v.cumsum(1)) / n, (abs(start) + abs(v).cumsum(1)) / n


def excess(y: Tensor, exact: np.ndarray, scale: np.ndarray) -> float:
    """The largest error in units of what is allowed: float64 sums, and one rounding to the dtype.

    A sum of n numbers in float64 is off by n 2^-53 of the magnitudes at most; for the sizes drawn
    here, and the logarithm of a count of 2^40 in `softmax`, 1e-13 covers it. One rounding is half a
    unit, by way of float32 a thousandth more.
    """
    kind = torch.finfo(y.dtype)
    once = 0 if y.dtype == torch.float64 else 0.5005 * kind.eps * abs(exact)
    allowed = once + kind.smallest_normal * kind.eps + 1e-13 * scale
    error = abs(y.detach().double().numpy().astype(np.longdouble) - exact)
    return float((error / allowed).max(initial=0))
