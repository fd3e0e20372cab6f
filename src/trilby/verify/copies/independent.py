"""Whether a copy of a module is a copy: no tensor of the original is used when it is called."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Uses(TorchDispatchMode):
    """Notes the first tensor of the original that an operation is given."""

    def __init__(self, of: dict[int, str]) -> None:
        super().__init__()
        self.of, self.seen = of, ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for t in () if self.seen else tree_leaves((args, kwargs or {})):
            if isinstance(t, Tensor) and t.layout is torch.strided:
                self.seen = self.of.get(t.untyped_storage().data_ptr(), "")
                if self.seen:
                    break
        return func(*args, **(kwargs or {}))


def still_used(original: nn.Module, call: Callable[[], Any]) -> str:
    """The name of a parameter or buffer of the original that `call`, of a copy, uses; empty: none.

    A module may define `__deepcopy__` so that parameters are shared, and a function that it keeps
    as an attribute may hold on to the original.
    """
    named = [*original.named_parameters(), *original.named_buffers()]
    dense = [(name, t) for name, t in named if t.layout is torch.strided and t.numel()]
    uses = _Uses({t.untyped_storage().data_ptr(): name for name, t in dense})
    with torch.no_grad(), uses:
        call()
    return uses.seen
