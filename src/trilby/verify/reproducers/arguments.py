"""Values and the arguments of a constructor, as Python."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

MOST = 64  # numbers of a tensor that are written out


class Unwritten(Exception):
    """There is no Python for it; the message says for what."""


def value(thing: Any) -> str:
    """A value as Python."""
    if isinstance(thing, Tensor) and thing.numel() <= MOST and thing.device.type == "cpu":
        return f"torch.tensor({thing.tolist()}, dtype={thing.dtype})"
    if isinstance(thing, list | tuple):
        inside = ", ".join(map(value, thing))
        return f"[{inside}]" if isinstance(thing, list) else f"({inside}{',' * (len(thing) == 1)})"
    if isinstance(thing, dict):
        return "{" + ", ".join(f"{value(k)}: {value(v)}" for k, v in thing.items()) + "}"
    if thing is None or isinstance(thing, bool | int | float | str | torch.dtype):
        return repr(thing)
    raise Unwritten(f"{type(thing).__name__}")


def arguments(kind: type[nn.Module], made: nn.Module) -> str:
    """The arguments of a class that give a module of the same parameters and buffers.

    Many a class keeps its arguments as attributes of the same names. They are tried, without
    memory for the weights.
    """
    written = {}
    for name, p in list(inspect.signature(kind.__init__).parameters.items())[1:]:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        known = vars(made).get(name, p.default)
        if known is p.empty:
            raise Unwritten(f"{name} of {kind.__name__}")
        if p.default is p.empty or known is not p.default:
            written[name] = known
    if any(True for _ in inspect.signature(kind.__init__).parameters) and written:
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                other = kind(**written)
        except Exception as error:
            raise Unwritten(f"the arguments of {kind.__name__}") from error
        if _shapes(other) != _shapes(made):
            raise Unwritten(f"the arguments of {kind.__name__}")
    return ", ".join(f"{name}={value(v)}" for name, v in written.items())


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: t.shape for name, t in module.state_dict().items()}
