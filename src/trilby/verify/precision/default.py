"""Another default dtype, in this thread alone.

`torch.set_default_dtype` changes what every thread of the process gets from `torch.zeros(3)`. Here
a call that takes the default dtype is caught where it is made, and other threads see nothing.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_ALWAYS = frozenset(
    (
        torch.empty, torch.zeros, torch.ones, torch.eye, torch.linspace, torch.logspace,
        torch.empty_strided, torch.hann_window, torch.hamming_window, torch.blackman_window,
        torch.bartlett_window, torch.kaiser_window, torch.fft.fftfreq, torch.fft.rfftfreq,
    )
)  # fmt: skip
_BY_VALUE = frozenset(
    (torch.tensor, torch.as_tensor, torch.asarray, torch.scalar_tensor, torch.full, torch.arange)
)
_DRAWS = frozenset((torch.rand, torch.randn, torch.normal))
_NAMED = frozenset(
    (torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16, torch.Tensor.type)
)


class Default(TorchFunctionMode):
    """Within, and in this thread, what would be of torch's default dtype is of another.

    `torch.get_default_dtype()` and what TorchScript computes by itself know nothing of it. Random
    numbers are those of torch's default dtype, cast: a dtype changes which numbers are drawn.

    >>> with Default(torch.float64):
    ...     torch.zeros(2).dtype, torch.tensor(0.1).item(), (1 / torch.tensor(3)).dtype
    (torch.float64, 0.1, torch.float64)
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        usual = torch.get_default_dtype()
        self.other = {usual: dtype, usual.to_complex(): dtype.to_complex()}
        self.dtype, self.idle = dtype, usual == dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if self.idle or given.get("dtype") is not None or "out" in given:
            return func(*args, **given)
        if func in _ALWAYS:
            return func(*args, **{**given, "dtype": self.dtype})
        found = func(*args, **given)
        if type(found) is not Tensor or found.dtype not in self.other:
            return found
        if func in _DRAWS:
            return found if _floating(args) else found.to(self.other[found.dtype])
        if func in _BY_VALUE:
            plain = not any(hasattr(value, "dtype") for value in args)  # else it is the value's
            wide = {**given, "dtype": self.other[found.dtype]}
            return func(*args, **wide) if plain else found
        if func in _NAMED or func is torch.Tensor.to or any(_dtype(v) for v in args):
            return found
        return self._of_whole(func, args, given, found)

    def _of_whole(self, func: Any, args: Any, given: Any, found: Tensor) -> Tensor:
        """What an operation makes of whole numbers, which took the default dtype too."""
        values = (*args, *given.values())
        tensors = [value for value in values if isinstance(value, Tensor)]
        if not tensors or _floating(values):
            return found
        if func is torch.where or func is torch.Tensor.where:
            change: Any = lambda v: torch.tensor(v, dtype=self.dtype) if type(v) is float else v
        else:
            change = lambda v: v.to(self.dtype) if isinstance(v, Tensor) else v
        try:
            return func(*map(change, args), **{key: change(v) for key, v in given.items()})
        except (TypeError, RuntimeError):  # it takes whole numbers alone
            return found.to(self.other[found.dtype])


def _floating(values: Any) -> bool:
    flat = [v for value in values for v in (value if isinstance(value, list | tuple) else [value])]
    return any(isinstance(v, Tensor) and (v.is_floating_point() or v.is_complex()) for v in flat)


def _dtype(value: Any) -> bool:
    return isinstance(value, torch.dtype)
