"""Where tokens become numbers: an embedding gives out what has a gradient, and tokens have none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .layout import Layout


@contextmanager
def embedded(
    module: nn.Module | None, inputs: list[tuple[Any, Layout]]
) -> Iterator[list[tuple[str, Tensor]]]:
    """Within, what an embedding of these very tokens gives out comes from a leaf with a gradient.

    Yields a list that fills with (name, leaf [B, T, C]) as the module runs; empty without an
    embedding, and where the inputs are no tokens. `inputs`: what the call is given. An embedding
    of positions that is handed the tokens for their number alone, and gives out [T, C], is none of
    tokens.
    """
    entered: list[tuple[str, Tensor]] = []
    tokens = [(x, layout) for x, layout in inputs if _whole(x)]
    if module is None or len(tokens) != len(inputs):
        yield entered
        return

    def hook(_module: nn.Module, given: tuple[Any, ...], made: Any) -> Any:
        of_tokens = bool(given) and isinstance(given[0], Tensor)
        layout = next((l for x, l in tokens if of_tokens and _same(given[0], x)), None)
        if layout is None:
            return None
        if not isinstance(made, Tensor) or made.shape[:-1] != given[0].shape:
            return None
        first = layout.axis(given[0].ndim) == 0  # else time is on axis 1, as in the tokens
        leaf = (made.transpose(0, 1) if first else made).detach().requires_grad_()
        entered.append(("embedding of the tokens", leaf))
        return (
            leaf.transpose(0, 1) if first else leaf
        ).clone()  # the module may change what it was given in place

    found = [m for m in module.modules() if isinstance(m, nn.Embedding)]
    handles = [m.register_forward_hook(hook) for m in found]
    try:
        yield entered
    finally:
        for handle in handles:
            handle.remove()


def _whole(x: Any) -> bool:
    """Whether it is a tensor of integers."""
    return isinstance(x, Tensor) and not x.is_floating_point() and not x.is_complex()


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())
