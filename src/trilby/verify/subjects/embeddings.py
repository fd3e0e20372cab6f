"""Where tokens become numbers: an embedding gives out what has a gradient, and tokens have none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def embedded(module: nn.Module | None, inputs: list[Tensor]) -> Iterator[list[tuple[str, Tensor]]]:
    """Within, what an embedding of these very tokens gives out comes from a leaf with a gradient.

    Yields a list that fills with (name, leaf) as the module runs; empty without an embedding, and
    where the inputs are no tokens. An embedding of positions that is handed the tokens for their
    number alone, and gives out [T, C], is none of tokens.
    """
    entered: list[tuple[str, Tensor]] = []
    tokens = [x for x in inputs if not x.is_floating_point()]
    if module is None or len(tokens) != len(inputs):
        yield entered
        return

    def hook(_module: nn.Module, given: tuple[Any, ...], made: Any) -> Any:
        of_tokens = bool(given) and isinstance(given[0], Tensor)
        if not of_tokens or not any(_same(given[0], x) for x in tokens):
            return None
        if not isinstance(made, Tensor) or made.shape[:-1] != given[0].shape:
            return None
        leaf = made.detach().requires_grad_()
        entered.append(("embedding of the tokens", leaf))
        return leaf.clone()  # the module may change what it was given in place

    found = [m for m in module.modules() if isinstance(m, nn.Embedding)]
    handles = [m.register_forward_hook(hook) for m in found]
    try:
        yield entered
    finally:
        for handle in handles:
            handle.remove()


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())
