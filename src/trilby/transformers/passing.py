"""What the layers of a model know and do not tell the functions that they call.

Some models drop the keywords of packed sequences on the way down to their layers, the first Mamba
calls its scan without the state of its cache, and no layer tells the step the limits of its pass.
Hooks on an accelerated model keep all three while a layer runs, and our functions read them.
"""

import functools
import inspect
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import CallError
from . import overtime
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


def runs() -> bool:
    """Whether an accelerated model runs now."""
    return bool(_running.known)


def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Take packing from the keywords, the positions or the module around."""
    added = {}
    if overtime.inside() and not _running.known:
        added = overtime.entering(module, args, kwargs)
        kwargs = kwargs | added
    packing = of_call(kwargs)
    if not packing:
        packing = known().packing
        _heard(module, bool(packing))
    cache = next(
        (x for x in (*args, *kwargs.values()) if hasattr(x, "update_recurrent_state")), None
    )
    found = Known(packing, limit=getattr(module, "time_step_limit", None))
    if cache is not None and hasattr(module, "layer_idx"):
        found.states = _states(module, cache)
    if not _running.known and module.training:
        _borders_again(module)
    _running.known.append(found)
    more = {name: t for name, t in packing.items() if name not in kwargs}
    kind: Any = type(module)  # for mypy, to which a class of modules has no hash
    if more and _takes_any(kind):
        return args, kwargs | more
    return (args, kwargs) if added else None


def leave(*_: Any) -> None:
    """A forward hook, called after an exception too."""
    if _running.known:
        _running.known.pop()


def _states(layer: Any, cache: Any) -> Iterator[Tensor]:
    """The state of the cache, or those of the heads where a layer scans head by head.

    Most layers hand their state over themselves, so it is looked up when it is asked for.
    """
    i = layer.layer_idx
    if hasattr(cache, "get_recurrent_state"):
        state = cache.get_recurrent_state(i)
    else:  # before 5.21
        state = cache.layers[i].recurrent_states[0] if cache.has_previous_state(i) else None
    if state is not None:
        yield from [state] if state.ndim == 3 else state.unbind(1)


CHECKPOINT = "_gradient_checkpointing_func"  # where transformers keeps what it checkpoints with


@dataclass
class Bordered:
    """A checkpoint of transformers whose second computation knows what the first one knew.

    On the way back a block runs again without the modules around it, so their hooks do not run.
    """

    checkpoint: Any

    def __call__(self, function: Any, *args: Any, **how: Any) -> Any:
        """As the checkpoint itself."""
        packing = known().packing

        def again(*given: Any) -> Any:
            _running.known.append(Known(packing))
            try:
                return function(*given)
            finally:
                _running.known.pop()

        return self.checkpoint(again, *args, **how)


def _borders_again(model: nn.Module) -> None:
    """Have each block that is checkpointed keep the borders for its second computation."""
    for module in model.modules():
        checkpoint = vars(module).get(CHECKPOINT)
        if checkpoint is not None and not isinstance(checkpoint, Bordered):
            setattr(module, CHECKPOINT, Bordered(checkpoint))


def forget(module: nn.Module) -> None:
    """Leave a module as it was before."""
    checkpoint = vars(module).get(CHECKPOINT)
    if isinstance(checkpoint, Bordered):
        setattr(module, CHECKPOINT, checkpoint.checkpoint)
    _told.discard(module)


_told: WeakSet[nn.Module] = WeakSet()  # modules whose last forward had borders from around them


def _heard(module: nn.Module, packed: bool) -> None:
    """Keep whether the modules around told this one borders; an error where it needs them again.

    A checkpoint that is not transformers' own runs a module on the way back, alone.
    """
    if packed:
        _told.add(module)
    elif _running.known:
        _told.discard(module)
    elif module in _told and torch._C._current_graph_task_id() != -1:  # in a backward pass
        raise CallError(
            f"{type(module).__name__}: packed sequences were computed again without their borders; "
            "checkpoint with model.gradient_checkpointing_enable(), or wrap the blocks before "
            "accelerate(model)"
        )


@functools.cache
def _takes_any(kind: type[nn.Module]) -> bool:
    """Whether the forward takes keywords that it does not name."""
    parameters = inspect.signature(kind.forward).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)
