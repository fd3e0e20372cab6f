"""Words for values in sentences: what a function is called, what a tensor is, what was raised."""

from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor


def label(function: Any) -> str:
    """What a function is called.

    >>> label(torch.exp), label(torch.nn.Linear(1, 1)), label(torch.nn.Linear(1, 1).forward)
    ('exp', 'Linear', 'Linear.forward')
    """
    if isinstance(function, partial):
        return label(function.func)
    if isinstance(function, MethodType):
        return f"{type(function.__self__).__name__}.{function.__name__}"
    return getattr(function, "__name__", type(function).__name__)


def first_line(error: Exception) -> str:
    """The type of an exception and the first line of its message."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first:.160}" if first else type(error).__name__


def joined_lines(error: Exception, most: int = 80) -> str:
    """The message of an exception on one line, cut to `most` characters.

    >>> joined_lines(ValueError("too\\n  large"))
    'too large'
    """
    return " ".join(str(error).split())[:most]


def short(dtype: torch.dtype) -> str:
    """The name of a dtype, e.g. "float32"."""
    return str(dtype).removeprefix("torch.")


def described(leaf: Any) -> str:
    """A leaf in three words: its dtype and shape, or its value."""
    if isinstance(leaf, Tensor):
        return f"{short(leaf.dtype)} {list(leaf.shape)}"
    return f"{type(leaf).__name__} {leaf!r:.40}"
