"""The proof that our functions are called: layer by layer, while small calls of the model run."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .functions import OURS
from .packed import cache_of

_counting: list[Counter[str]] = []  # what the layer that runs now calls, while somebody asks


@functools.cache
def counted(name: str) -> Callable[..., Any]:
    """Ours, which says that it was called while somebody asks."""
    function = OURS[name]

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if _counting:
            _counting[-1][name] += 1
        return function(*args, **kwargs)

    return called


def proven(
    model: nn.Module, layers: list[tuple[str, nn.Module]]
) -> tuple[dict[str, Counter[str]], str]:
    """What each layer calls in a forward of two tokens and one of a third, and why not if not."""
    seen: dict[str, Counter[str]] = {path: Counter() for path, _ in layers}

    def begin(path: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            _counting[:] = [seen[path]]

        return hook

    hooks = [layer.register_forward_pre_hook(begin(path)) for path, layer in layers]
    training = [module for module in model.modules() if module.training]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()
            _two_tokens(model)
    except Exception as error:  # whatever a model raises, it is said and not hidden
        return seen, f"A call of two tokens raised {type(error).__name__}: {str(error)[:120]}"
    finally:
        _counting.clear()
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True
    return seen, ""


def _two_tokens(model: nn.Module) -> None:
    """A call of two tokens, and where it returns a cache one of the next token."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    two = torch.ones(1, 2, dtype=torch.int64, device=device)
    if past := cache_of(model, model(input_ids=two, use_cache=True)):
        model(input_ids=two[:, :1], use_cache=True, **past)
