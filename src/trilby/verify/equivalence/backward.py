"""The backward pass of two ways, as two functions that `same` can compare like any others.

The function takes what a way takes, and returns the gradients of a sum of its results times fixed
numbers, dy. Both ways get the same dy.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..comparing.gradients import gradients_of
from ..copies.nested import clone, leaves, located, numbers, replaced
from ..copies.owning import Owning
from ..copies.reached import captured, reached, restored
from ..precision.allowance import run
from ..process import seed
from ..reproducers.two_ways import letters
from ..wording import first_line
from .comparison import Answers, Comparison

LEAVES = {
    *(Tensor.numpy, Tensor.__array__, Tensor.item, Tensor.tolist, Tensor.data_ptr),
    *(Tensor.backward, torch.autograd.backward, torch.autograd.grad),
}
"""What hands numbers to code that torch cannot differentiate, or differentiates by itself."""


def backward(comparison: Comparison) -> Comparison | str | None:
    """The comparison of gradients; a note why there is none; None where there is nothing to ask.

    Both ways are called once, in the dtype that was given, inside `recorded()`.
    """
    given = located(letters(comparison.args), comparison.args, comparison.kwargs)
    trained = _trained(comparison)
    values, working = comparison.found[0], comparison.working
    tensors = [p for p in comparison.floating() if isinstance(values[p], Tensor)]
    dy = {path: _dy(i, values[path], working) for i, path in enumerate(tensors)}
    if not dy or not (trained or any(numbers(t) for _, t in given)):
        return None
    one, two = (partial(pulled, way, trained) for way in comparison.ways)
    first, second = (f"the gradient of {name}" for name in comparison.names)
    asked = replace(comparison, ways=(one, two), args=(dy, *comparison.args),
                    names=(first, second), notes=[])  # fmt: skip
    found: list[Answers] = []
    for i, name in enumerate(comparison.names):
        try:
            found.append(dict(run(clone(asked.given(i)))))
        except Exception as error:
            return f"gradients are not compared, {name} refuses them ({first_line(error)})"
    asked.found = found[0], found[1]
    flows = [any(bool(g.any()) for g in answers.values()) for answers in found]
    if not any(flows):
        return None
    for i, name in enumerate(comparison.names):
        if not flows[i] and _leaves_torch(comparison, i):
            return f"gradients are not compared, {name} has none (it leaves torch or its autograd)"
    return asked


def pulled(
    way: Callable[..., Any],
    trained: tuple[str, ...],
    dy: dict[str, Tensor],
    *args: Any,
    **kwargs: Any,
) -> dict[str, Tensor]:
    """The gradients of a sum of dy times results, to every argument and to parameters, by name.

    Zeros where nothing flows. No `.grad` is left behind.
    """
    with restored(way):
        try:
            return _pulled(way, trained, dy, args, kwargs, keep=False)
        except RuntimeError as error:
            if ".backward()" not in str(error):
                raise
        seed()
        return _pulled(way, trained, dy, args, kwargs, keep=True)


def _pulled(
    way: Any, trained: tuple[str, ...], dy: dict[str, Tensor], args: Any, kwargs: Any, keep: bool
) -> dict[str, Tensor]:
    known = [(p, t) for p, t in located(letters(args), args, kwargs) if numbers(t)]
    to = {path: t.detach().requires_grad_() for path, t in known}
    handed = {id(t): _Handed.apply(to[path]) for path, t in known}
    own = _parameters(way)
    every: list[Tensor] = [p for p in own.values() if p.requires_grad]
    to |= {f"{name} (parameter)" if name in to else name: own[name] for name in trained}
    args, kwargs = replaced((args, kwargs), lambda t: handed.get(id(t), t.clone()))
    results = dict(leaves(way(*args, **kwargs)))
    for path, above in dy.items():
        if getattr(results.get(path), "shape", None) != above.shape:  # in float64, not where asked
            raise ValueError(f"{path} is another there, or has another shape")
    parts = [(above * results[path]).sum()
             for path, above in dy.items() if results[path].requires_grad]  # fmt: skip
    none: list[Tensor | None] = [None] * len(to)
    every += [
        *captured(way.way if isinstance(way, Owning) else way),
        *(p for m in reached(way) for p in m.parameters()),
    ]
    loss = torch.stack([part.double() for part in parts]).sum() if parts else None
    found = none if loss is None else gradients_of(loss, [*to.values()], every, keep=keep)
    pairs = zip(to.items(), found, strict=True)
    return {path: torch.zeros_like(t) if g is None else g.detach() for (path, t), g in pairs}


class _Handed(torch.autograd.Function):
    """A copy with the same strides that a way may write into, as it may into what it is given."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        copied: Tensor = clone(x)
        return copied

    @staticmethod
    def backward(_: Any, *dy: Tensor) -> Tensor:
        return dy[0]


@contextmanager
def recorded() -> Iterator[None]:
    """Operations are recorded inside, whatever mode the caller is in."""
    with torch.inference_mode(False):  # it turns recording on, inside `no_grad` too
        yield


def _dy(i: int, like: Tensor, working: torch.dtype) -> Tensor:
    """Numbers from 1 to 2 with either sign, of as many digits as the result has, or the arguments.

    Where an argument is coarser than the result, its gradient is too: autograd rounds each part of
    it to the dtype of the argument and adds them there. Moving dy by a unit of that shows how far
    this may carry.
    """
    coins = torch.Generator().manual_seed(i)
    size = torch.rand(like.shape, generator=coins, dtype=torch.float64) + 1
    sign = 2 * torch.randint(0, 2, like.shape, generator=coins) - 1
    coarser = max(like.dtype, working, key=lambda dtype: torch.finfo(dtype).eps)
    return (size * sign).to(coarser)


def _trained(comparison: Comparison) -> tuple[str, ...]:
    """The parameters that take gradients, if both ways have parameters of the same names."""
    one, two = map(_parameters, comparison.ways)
    shapes = [{name: p.shape for name, p in own.items()} for own in (one, two)]
    if shapes[0] != shapes[1]:
        return ()
    return tuple(name for name in one if one[name].requires_grad and two[name].requires_grad)


def _parameters(way: Any) -> dict[str, nn.Parameter]:
    """The parameters of a module by name; of a function, those of the one module it reaches."""
    if isinstance(way, Owning):
        inner = [*way.children()]
        way = inner[0] if len(inner) == 1 else way
    return dict(way.named_parameters()) if isinstance(way, nn.Module) else {}


class _Leaving(TorchFunctionMode):
    """Sees whether numbers leave torch, or operations run without being recorded."""

    seen = False

    def itself(self) -> "_Leaving":
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen |= func in LEAVES or not torch.is_grad_enabled()
        return func(*args, **(kwargs or {}))


def _leaves_torch(comparison: Comparison, i: int) -> bool:
    """Whether a way without any gradient was never meant to have one."""
    watch = _Leaving()
    run(clone(comparison.given(i)), within=watch.itself)
    return watch.seen
