"""The backward pass of a subject: gradients to its sequences, and to its parameters."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..comparing.finding import Finding
from ..comparing.gradients import gradients_of
from ..copies.nested import clone, copied
from ..subjects.embeddings import embedded
from ..subjects.subject import Sequences, Subject

Named = list[tuple[str, Tensor]]


def taped(subject: Subject, sequences: Sequences, state: Any = None) -> tuple[Any, Named]:
    """The result of one call that records gradients, and the inputs that have one, by name.

    Tokens have no gradient; what an embedding makes of them has.
    """
    inputs = [x.requires_grad_(x.is_floating_point()) for x in clone(sequences)]
    state = copied(state)
    subject.fresh()
    with (
        torch.enable_grad(),
        subject.within(),
        embedded(subject.module, subject.tokens(inputs)) as entered,
    ):
        y, _ = subject.call(tuple(inputs), state)
    named = [(n, x) for n, x in zip(subject.names, inputs, strict=False) if x.requires_grad]
    named = named or entered
    able = isinstance(y, Tensor) and y.requires_grad
    return y, named if able else []


def pulled(subject: Subject, outputs: Tensor, to: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of a sum of outputs; zeros where there is none. It may be asked again."""
    every = [p for _, p in subject.owned]
    with subject.within():
        found = gradients_of(outputs.sum(), list(to), every)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, to, strict=True)]


def wanted(subject: Subject, named: Named) -> Named:
    """The inputs, and the parameters that take gradients."""
    return [*named, *((name, p) for name, p in subject.owned if p.requires_grad)]


def not_finite(grads: Sequence[Tensor], named: Named, where: str) -> Finding | None:
    """The finding that a gradient is not finite; None if all are."""
    for g, (name, _) in zip(grads, named, strict=True):
        if not bool(g.isfinite().all()):
            text = f"is not finite {where}"
            return Finding("not finite", True, torch.inf, 0.0, f"the gradient to {name}", text)
    return None
