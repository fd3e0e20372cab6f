"""How a sequence lies in the user's call: where its time is, torch or numpy, real or complex.

Laws see tensors of real numbers `[B, T, ...]`. A call is given what the user gives it, and its
result is turned back.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """How one argument lies, or a result.

    Attributes:
        time: the axis of time, counted from the end if it is negative. If it is 0, the batch is on
            axis 1, else on axis 0. A tensor of fewer axes has time on its last one.
        numpy: whether it is a numpy array.
        complex: whether its numbers are complex; laws see pairs of real ones on a last axis of 2.
    """

    time: int = 1
    numpy: bool = False
    complex: bool = False

    @classmethod
    def of(cls, value: Any, time: int = 1) -> "Layout":
        """The layout of a tensor or an array whose time is on an axis."""
        numpy = isinstance(value, np.ndarray)
        is_complex = np.iscomplexobj(value) if numpy else value.is_complex()
        return cls(time, numpy, is_complex)

    def axis(self, rank: int) -> int:
        """The axis of time in a tensor of a rank."""
        return max(rank + self.time, 0) if self.time < 0 else min(self.time, rank - 1)

    def judged(self, value: Any) -> Any:
        """`[B, T, ...]` of real numbers; what is no array, or has no two axes, is left as it is."""
        if isinstance(value, np.ndarray):  # one that is turned round has no tensor
            value = torch.as_tensor(np.ascontiguousarray(value))
        if not isinstance(value, Tensor) or value.ndim < 2:
            return value
        at = self.axis(value.ndim)
        x = value.transpose(0, 1) if at == 0 else value.movedim(at, 1)
        return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x

    def given(self, x: Tensor) -> Any:
        """What the call takes for a tensor `[B, T, ...]`; no copy unless it has to be one."""
        if self.complex:
            x = torch.view_as_complex(x.contiguous())
        at = self.axis(x.ndim)
        if at != 1:
            x = (x.transpose(0, 1) if at == 0 else x.movedim(1, at)).contiguous()
        return x.detach().cpu().numpy() if self.numpy else x

    def given_in_python(self, name: str, rank: int) -> str:
        """Python that makes what the call takes of a tensor of that rank.

        >>> Layout(2).given_in_python("x", 3), Layout(0, numpy=True).given_in_python("x", 3)
        ('x.movedim(1, 2)', 'x.transpose(0, 1).numpy()')
        """
        if self.complex:
            name, rank = f"torch.view_as_complex({name})", rank - 1
        at = self.axis(rank)
        name += "" if at == 1 else ".transpose(0, 1)" if at == 0 else f".movedim(1, {at})"
        return f"{name}.numpy()" if self.numpy else name

    def judged_in_python(self, call: str, rank: int) -> str:
        """Python that makes `[B, T, ...]` of a result of that rank, complex axes not counted.

        >>> Layout(-1).judged_in_python("f(x)", 3)
        'f(x).movedim(2, 1)'
        """
        at = self.axis(rank)
        call = f"torch.as_tensor({call}.copy())" if self.numpy else call
        call += "" if at == 1 else ".transpose(0, 1)" if at == 0 else f".movedim({at}, 1)"
        return f"torch.view_as_real({call})" if self.complex else call


def is_array(value: Any) -> bool:
    """Whether a value is a tensor, or a numpy array of numbers."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufc"
    return isinstance(value, Tensor)
