"""Lines of Python that call `trilby.same` again."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .source import found

MOST = 256  # numbers that are written out; a larger tensor is named by its dtype and shape


def reproducer(
    ways: tuple[Callable[..., Any], Callable[..., Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> str:
    """A script that calls `trilby.same` as it was called.

    It runs as it stands where both ways can be imported and the arguments are numbers, or tensors
    of no more than 256 of them. What else there was is `...` with a comment that says what belongs
    there.

    >>> print(reproducer((torch.exp, torch.exp2), (torch.ones(2),), {}))
    import torch
    import trilby
    f = torch.exp
    g = torch.exp2
    x = torch.tensor([1.0, 1.0], dtype=torch.float32)
    print(trilby.same(f, g, x))
    """
    named = letters(args)
    lines = [
        *map(_way, "fg", ways),
        *map(_value, named, args),
        *map(_value, kwargs, kwargs.values()),
    ]
    call = ", ".join(["f", "g", *named, *(f"{name}={name}" for name in kwargs)])
    used = ["nan", "inf"] if any("nan" in line or "inf" in line for line in lines) else []
    numbers = [f"from math import {', '.join(used)}"] if used else []
    modules = sorted({m for way in ways if (m := _home(way)[0])} | {"torch", "trilby"})
    top = [*numbers, *(f"import {module}" for module in modules)]
    return "\n".join([*top, *lines, f"print(trilby.same({call}))"])


def letters(args: Sequence[Any]) -> list[str]:
    """What arguments without a name are called: x, or x0, x1 and so on."""
    return ["x"] if len(args) == 1 else [f"x{i}" for i in range(len(args))]


def _way(letter: str, way: Any) -> str:
    module, name = _home(way)
    return f"{letter} = {module}.{name}" if module else f"{letter} = ...  # {_named(way)}"


def _home(way: Any) -> tuple[str, str]:
    """The module and the name under which a way can be imported, or two empty words."""
    if getattr(torch, short := getattr(way, "__name__", ""), None) is way:
        return "torch", short  # its own name for its home is a private class
    name = getattr(way, "__qualname__", "")
    module = getattr(way, "__module__", "") or ""
    here = module != "__main__" and found(module, name) is way
    return (module, name) if here else ("", "")


def _named(way: Any) -> str:
    code = getattr(way, "__code__", None)
    name = getattr(way, "__qualname__", type(way).__name__)
    return f"{name}, line {code.co_firstlineno} of {code.co_filename}" if code else name


def _value(letter: str, value: Any) -> str:
    return f"{letter} = {_written(value)}"


def _written(value: Any) -> str:
    """The value as Python; one that is too large or unknown is `...` with what it is."""
    if isinstance(value, Tensor) and value.numel() <= MOST and value.layout is torch.strided:
        device = "" if value.device.type == "cpu" else f', device="{value.device.type}"'
        text = f"torch.tensor({value.tolist()}, dtype={value.dtype}{device})"
        return text if value.numel() else f"torch.zeros({list(value.shape)}, dtype={value.dtype})"
    if isinstance(value, Tensor | np.ndarray):
        return f"...  # {type(value).__name__}, {value.dtype}, {list(value.shape)}"
    known = value is None or isinstance(value, bool | int | float | str)
    return repr(value) if known else f"...  # {type(value).__name__}"
