"""Kernels that overwrite a state, called without torch in between, as a decoder calls them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...env import no_compiler
from ...torch_private import transformed

COMPILED = not no_compiler()  # whether kernels can be compiled in this process


class InPlace:
    """The call of a kernel for a stream: y, and the state overwritten; or None, and nothing done.

    It steps aside, by None, where the kernel has to be called as an operator of torch. The contract
    is looked at once for each set of shapes and dtypes.

    Args:
        check: raises the error of the contract; takes the arguments and `state=`.
        kernel: takes the same, changes the state and returns y.
    """

    def __init__(self, check: Callable[..., object], kernel: Callable[..., Tensor]) -> None:
        self.check, self.kernel = check, kernel
        self.known = set[tuple[Any, ...]]()  # a decoder has one for each size of a batch

    def __call__(self, *arguments: Tensor | None, state: Tensor) -> Tensor | None:
        given = [x for x in (*arguments, state) if x is not None]
        if not direct(*given):
            return None
        key = tuple((x.shape, x.dtype) for x in given)
        if key not in self.known:
            self.check(*arguments, state=state)
            self.known.add(key)
        return self.kernel(*arguments, state=state)


def direct(*tensors: object) -> bool:
    """Whether a kernel may be called without torch in between, its last tensor changed in place.

    That is: plain tensors on a CPU, no gradient wanted, nothing traced or transformed, and the last
    one contiguous.

    >>> direct(torch.zeros(1)), direct(torch.zeros(1, requires_grad=True))
    (True, False)
    """
    if not COMPILED or torch.compiler.is_compiling() or transformed():
        return False
    graph = torch.is_grad_enabled()
    for x in tensors:
        if type(x) is not Tensor or not x.is_cpu or (graph and x.requires_grad):
            return False
    last = tensors[-1]
    assert isinstance(last, Tensor)
    return last.is_contiguous() and not torch.jit.is_tracing()  # type: ignore[attr-defined]
