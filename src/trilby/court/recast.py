"""The twin of code that names its own dtype, or that holds on to tensors in one.

`x.float()`, `torch.zeros(n, dtype=torch.float32)` and a captured float32 matrix keep a function
from running in float64, or let it run there with the digits of float32. Inside `Recast` every
operation takes and makes floating tensors of one dtype, whatever the code says.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from .entitled import unit
from .nest import alike


@cache
def _signature(func: Any) -> tuple[list[str], frozenset[str]]:
    """The arguments of an operator, and those that it neither writes into nor views."""
    takes = func._schema.arguments
    return [a.name for a in takes], frozenset(a.name for a in takes if a.alias_info is None)


class Recast(TorchDispatchMode):
    """Runs each operation in `dtype`; what is written into or viewed keeps its own.

    Attributes:
        outside: address -> memory of each tensor of another dtype, in the order of meeting.
    """

    def __init__(
        self, dtype: torch.dtype, signs: int | None = None, fixed: frozenset[int] = frozenset()
    ) -> None:
        """With `signs`, a seed, each tensor outside is moved by a unit unless `fixed` names it."""
        super().__init__()
        self.dtype, self.signs, self.fixed = dtype, signs, fixed
        self.outside: dict[int, torch.UntypedStorage] = {}  # held, so that no address comes twice

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.view.dtype:  # reads bits, so another dtype is another number
            return func(*args, **(kwargs or {}))
        takes, free = _signature(func)
        placed = [
            self._cast(value) if name in free else value
            for name, value in zip(takes, args, strict=False)
        ]
        named = {k: self._cast(v) if k in free else v for k, v in (kwargs or {}).items()}
        return func(*placed, **named)

    def _cast(self, value: Any) -> Any:
        return tree_map(self._one, value) if isinstance(value, list | tuple) else self._one(value)

    def _one(self, value: Any) -> Any:
        if isinstance(value, torch.dtype) and (value.is_floating_point or value.is_complex):
            return self.dtype if value.is_floating_point else self.dtype.to_complex()
        if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
            return value
        wanted = alike(value, self.dtype)
        return value if value.dtype == wanted else self._outside(value).to(wanted)

    def _outside(self, t: Tensor) -> Tensor:
        """A tensor of another dtype, or that tensor moved by one unit, alike at each meeting."""
        memory = t.untyped_storage()
        self.outside.setdefault(memory.data_ptr(), memory)
        place = list(self.outside).index(memory.data_ptr())
        if self.signs is None or memory.data_ptr() in self.fixed or t.is_complex():
            return t
        whole = torch.empty(0, dtype=t.dtype, device=t.device).set_(memory)
        coins = torch.Generator().manual_seed(1000 * self.signs + place)
        coin = (torch.randint(0, 2, whole.shape, generator=coins) * 2 - 1).to(t.device)
        there = whole.double() + coin * unit(whole, t.dtype)
        return there.as_strided(t.shape, t.stride(), t.storage_offset())
