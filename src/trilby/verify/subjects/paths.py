"""Where a tensor stands among the arguments of a call, also inside mappings and tuples."""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .layout import is_array

Path = tuple[Any, ...]
"""A position or a keyword, then keys and indices inside that argument."""


def arrays(nested: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """(path, tensor or array) of all that stand in a nested value.

    >>> import torch
    >>> [path for path, _ in arrays([torch.ones(1), {"a": (torch.ones(1), 2)}])]
    [(0,), (1, 'a', 0)]
    """
    if is_array(nested):
        yield path, nested
    elif isinstance(nested, Mapping):
        for key, value in nested.items():
            yield from arrays(value, (*path, key))
    elif isinstance(nested, tuple | list):
        for i, value in enumerate(nested):
            yield from arrays(value, (*path, i))


def at(nested: Any, path: Path) -> Any:
    """The value at a path."""
    for key in path:
        nested = nested[key]
    return nested


def placed(nested: Any, path: Path, value: Any) -> Any:
    """The nested value with another one at a path; the original is left as it is.

    >>> placed([1, {"a": (2, 3)}], (1, "a", 0), 9)
    [1, {'a': (9, 3)}]
    """
    if not path:
        return value
    key, *rest = path
    inner = placed(nested[key], tuple(rest), value)
    if isinstance(nested, Mapping):
        made: Any = copy.copy(nested)
        made[key] = inner
        return made
    items = list(nested)
    items[key] = inner
    return type(nested)(*items) if hasattr(nested, "_fields") else type(nested)(items)


def named(path: Path, top: str) -> str:
    """What a tensor is called: its argument's name, or its key inside of that.

    >>> named((0,), "x"), named((0, "ids"), "batch"), named(("state", 1), "state")
    ('x', 'ids', 'state1')
    """
    name = top
    for key in path[1:]:
        name = str(key) if isinstance(key, str) else f"{name}{key}"
    return re.sub(r"\W", "_", name)
