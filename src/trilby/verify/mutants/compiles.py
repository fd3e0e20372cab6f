"""Mutants that are right in eager mode alone."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...mixers.mean import State
from .wrong import Mutant, Result, healthy

_LIBRARY = torch.library.Library("trilby_mutants", "DEF")


def _define(name: str, run: Callable[[Tensor], Tensor], fake: Callable[[Tensor], Tensor]) -> None:
    """An operator that is the identity in value, with its gradient."""
    _LIBRARY.define(f"{name}(Tensor x) -> Tensor")
    _LIBRARY.impl(name, run, "CPU")
    torch.library.register_fake(f"trilby_mutants::{name}", fake, lib=_LIBRARY)
    backward = lambda _ctx, grad: grad
    torch.library.register_autograd(f"trilby_mutants::{name}", backward, lib=_LIBRARY)


_define("turned", lambda x: x.transpose(0, 1).contiguous().transpose(0, 1), torch.clone)
_define("given", lambda x: x, torch.empty_like)


def branches_on_a_value(x: Tensor, state: State | None = None) -> Result:
    """`.item()` in the middle: the graph breaks."""
    y, left = healthy(x, state)
    return (y * 1 if x.detach().double().sum().item() == 0 else y), left


def differs_when_compiled(x: Tensor, state: State | None = None) -> Result:
    """Another branch runs while `torch.compile` traces."""
    y, left = healthy(x, state)
    return (y + 1e-2 if torch.compiler.is_compiling() else y), left


def loses_its_gradient_when_compiled(x: Tensor, state: State | None = None) -> Result:
    """When compiled, the values are right and the gradient is halved."""
    return healthy((x + x.detach()) / 2 if torch.compiler.is_compiling() else x, state)


def fakes_other_strides(x: Tensor, state: State | None = None) -> Result:
    """A custom operator whose fake implementation has other strides."""
    y, left = healthy(x, state)
    return torch.ops.trilby_mutants.turned(y), left


def returns_what_it_was_given(x: Tensor, state: State | None = None) -> Result:
    """A custom operator that returns its argument, although its schema says a new tensor."""
    y, left = healthy(x, state)
    return torch.ops.trilby_mutants.given(y), left


MUTANTS = (
    Mutant(branches_on_a_value, "compiles", "raises"),
    Mutant(differs_when_compiled, "compiles", "compiled differs"),
    Mutant(loses_its_gradient_when_compiled, "compiles", "compiled differs"),
    Mutant(fakes_other_strides, "compiles", "operator"),
    Mutant(returns_what_it_was_given, "compiles", "operator"),
)
