"""What the layers of a model know and do not tell the functions that they call.

Some models drop the keywords of packed sequences on the way down to their layers, the first Mamba
calls its scan without the state of its cache, and no layer tells the step the limits of its pass.
Hooks on an accelerated model keep all three while a layer runs, and our functions read them.
"""

import inspect
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..errors import CallError
from .packed import of_call


@dataclass
class Known:
    """What is known while one module runs.

    Attributes:
        packing: the keywords of packed sequences, `seq_idx` and `cu_seq_lens_q`.
        states: those of the layer's cache, one for each scan that it calls: [B, D, N].
        limit: between which numbers the layer keeps its time steps, if it does.
    """

    packing: dict[str, Tensor] = field(default_factory=dict)
    states: Iterator[Tensor] = field(default_factory=lambda: iter(()))
    limit: tuple[float, float] | None = None

    def state(self) -> Tensor | None:
        """The state for the next scan of this layer."""
        return next(self.states, None)


class _Stack(threading.local):
    """What the modules that run now know, the innermost last; every thread has its own."""

    def __init__(self) -> None:
        self.known: list[Known] = []


_running = _Stack()


def known() -> Known:
    """What the innermost module knows; nothing outside of accelerated models."""
    return _running.known[-1] if _running.known else Known()


def enter(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A forward pre-hook: takes packing from the keywords, the positions or the module around."""
    packing = of_call(kwargs)
    if not packing and (packing := known().packing) and _runs_again(module):
        raise CallError(
            f"{type(module).__name__}: packed sequences with gradient checkpointing do not work "
            "here, since the model does not hand their borders to its blocks; turn one of them off"
        )
    cache = next((x for x in (*args, *kwargs.values()) if hasattr(x, "get_recurrent_state")), None)
    found = Known(packing, limit=getattr(module, "time_step_limit", None))
    if cache is not None and hasattr(module, "layer_idx"):
        found.states = _states(module, cache)
    _running.known.append(found)
    more = {name: t for name, t in packing.items() if name not in kwargs}
    return (args, kwargs | more) if more and _takes_any(module) else None


def leave(*_: Any) -> None:
    """A forward hook, called after an exception too."""
    if _running.known:
        _running.known.pop()


def _states(layer: Any, cache: Any) -> Iterator[Tensor]:
    """The state of the cache, or those of the heads where a layer scans head by head."""
    state = cache.get_recurrent_state(layer.layer_idx)
    if state is None:
        return iter(())
    return iter([state] if state.ndim == 3 else state.unbind(1))


def _runs_again(module: Any) -> bool:
    """Whether the forward is called again on the way back, without the modules around it."""
    checkpoints = any(
        kind.__name__ == "GradientCheckpointingLayer" for kind in type(module).__mro__
    )
    return checkpoints and module.training and bool(module.gradient_checkpointing)


def _takes_any(module: nn.Module) -> bool:
    """Whether the forward takes keywords that it does not name."""
    parameters = inspect.signature(module.forward).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def around(model: nn.Module, paths: list[str]) -> None:
    """Put the hooks on layers, and on all modules around them; twice is as once."""
    outer = {path[:i] for path in paths for i, sign in enumerate(path) if sign == "."}
    for path in ("", *outer, *paths):
        module = model.get_submodule(path)
        if isinstance(module, nn.ModuleList) or enter in module._forward_pre_hooks.values():
            continue
        module.register_forward_pre_hook(enter, with_kwargs=True)
        module.register_forward_hook(leave, always_call=True)


def there(model: nn.Module) -> bool:
    """Whether a model has the hooks; a deep copy has them too."""
    return enter in model._forward_pre_hooks.values()


def away(model: nn.Module) -> None:
    """Take the hooks off."""
    for module in model.modules():
        for key in [k for k, hook in module._forward_pre_hooks.items() if hook is enter]:
            del module._forward_pre_hooks[key]
            module._forward_pre_hooks_with_kwargs.pop(key, None)
        for key in [k for k, hook in module._forward_hooks.items() if hook is leave]:
            del module._forward_hooks[key]
            module._forward_hooks_always_called.pop(key, None)
