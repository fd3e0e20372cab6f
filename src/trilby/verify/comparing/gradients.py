"""Gradients of a result, also of one that can only be asked for them by `.backward()`."""

from collections.abc import Sequence

import torch
from torch import Tensor


def gradients_of(
    outputs: Tensor,
    to: list[Tensor],
    every: Sequence[Tensor],
    again: bool = False,
    keep: bool = True,
) -> list[Tensor | None]:
    """The gradients of outputs by `.grad()`, or by `.backward()` where that is refused.

    Reentrant checkpoints refuse `.grad()`. `every`: parameters into whose `.grad` backward adds;
    afterwards it is as before. `again`: they have gradients themselves. `keep`: the graph is kept
    for another call, which compiled code may refuse; without it there is no second attempt.
    """
    try:
        return list(
            torch.autograd.grad(outputs, to, create_graph=again, retain_graph=keep,
                                allow_unused=True)
        )  # fmt: skip
    except RuntimeError as error:
        if again or not keep or ".backward()" not in str(error):
            raise
    touched = {id(t): t for t in (*to, *every)}.values()
    before = [t.grad for t in touched]
    try:
        for t in touched:
            t.grad = None
        outputs.backward(retain_graph=True)
        return [None if t.grad is None else t.grad.clone() for t in to]
    finally:
        for t, grad in zip(touched, before, strict=True):
            t.grad = grad
