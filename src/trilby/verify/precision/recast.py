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

from ..copies.nested import alike
from .allowance import unit


@cache
def _signature(func: Any) -> tuple[list[str], frozenset[str], bool]:
    """The arguments of an operator, those it neither writes into nor views, whether it draws."""
    takes = func._schema.arguments
    free = frozenset(a.name for a in takes if a.alias_info is None)
    return [a.name for a in takes], free, torch.Tag.nondeterministic_seeded in func.tags


def _wide(value: Any, dtype: torch.dtype) -> bool:
    return isinstance(value, Tensor) and value.dtype == dtype


class Recast(TorchDispatchMode):
    """Runs each operation in `dtype`; what is written into or viewed keeps its own.

    Attributes:
        outside: address -> memory of each tensor of another dtype, in the order of meeting.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        draws: torch.dtype = torch.float32,
        signs: int | None = None,
        fixed: frozenset[int] = frozenset(),
    ) -> None:
        """Draw random numbers as they were drawn for tensors of the dtype `draws`.

        With `signs`, a seed, each tensor outside is moved by a unit unless `fixed` names it.
        """
        super().__init__()
        self.dtype, self.draws, self.signs, self.fixed = dtype, draws, signs, fixed
        self.default = torch.get_default_dtype()
        self.outside: dict[int, torch.UntypedStorage] = {}  # held, so that no address comes twice

    def itself(self) -> "Recast":
        """This mode, to be run within."""
        return self

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.view.dtype:  # reads bits, so another dtype is another number
            return func(*args, **(kwargs or {}))
        takes, free, draws = _signature(func)
        if draws:
            return self._drawn(func, list(args), dict(kwargs or {}))
        placed = [
            self._cast(value) if name in free else value
            for name, value in zip(takes, args, strict=False)
        ]
        named = {k: self._cast(v) if k in free else v for k, v in (kwargs or {}).items()}
        return func(*placed, **named)

    def _drawn(self, func: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Random numbers differ from dtype to dtype, so they are drawn in the one first used."""
        first: Any = args[0] if args else None
        narrow = lambda v: v.to(self.draws) if _wide(v, self.dtype) else v
        if kwargs.get("dtype") == self.dtype:  # written as x.dtype, and this is the twin's
            kwargs["dtype"] = self.draws
        elif "dtype" in _signature(func)[0] and kwargs.get("dtype") is None:
            kwargs["dtype"] = self.draws if isinstance(first, Tensor) else self.default
        drawn = func(*map(narrow, args), **{k: narrow(v) for k, v in kwargs.items()})
        if func._schema.is_mutable and _wide(first, self.dtype):
            return first.copy_(drawn)
        return tree_map(self._one_of_ours, drawn)

    def _one_of_ours(self, value: Any) -> Any:
        floating = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(self.dtype) if floating else value

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
