"""The proof that our functions are called: layer by layer, while small calls of the model run."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .functions import OURS
from .packed import cache_of
from .quiet import quietly

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
    try:
        with quietly(model):
            _two_tokens(model)
    except Exception as error:  # whatever a model raises, it is said and not hidden
        return seen, f"A call of two tokens raised {type(error).__name__}: {str(error)[:120]}"
    finally:
        _counting.clear()
        for hook in hooks:
            hook.remove()
    return seen, ""


def apart(model: nn.Module) -> bool | None:
    """Whether the second of two packed sequences is as it was when the first one is another.

    Returns:
        None where the model cannot be called with positions that begin again.

    Layers that route tokens round otherwise for other neighbours, so a small part of the largest
    result is allowed; what is mixed differs by more.
    """
    try:
        with quietly(model):
            one, other = (_second_of_two(model, first) for first in (1, 2))
    except Exception:  # it takes no positions, or has no third token
        return None
    far, most = (float(x.abs().max()) for x in (one - other, one))
    return far <= most * max(torch.finfo(one.dtype).eps, ROUNDING) ** 0.5


ROUNDING = torch.finfo(torch.float32).eps  # some layers compute in float32 whatever the dtype is


def _two_tokens(model: nn.Module) -> None:
    """A call of two tokens, and where it returns a cache one of the next token."""
    two = torch.ones(1, 2, dtype=torch.int64, device=_device(model))
    if past := cache_of(model, model(input_ids=two, use_cache=True)):
        model(input_ids=two[:, :1], use_cache=True, **past)


def _second_of_two(model: nn.Module, first: int) -> Tensor:
    """[1, 2, C]: the result for two tokens that are packed behind two others."""
    device = _device(model)
    ids = torch.tensor([[first, first, 1, 1]], device=device)
    positions = torch.tensor([[0, 1, 0, 1]], device=device)
    return model(input_ids=ids, position_ids=positions, use_cache=False)[0][:, 2:]


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
