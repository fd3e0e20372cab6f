"""Which sequence of a result is judged."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from .layout import is_array

PICKED = ("logits", "last_hidden_state")


def picker(output: Any) -> Callable[[Any], Any]:
    """The function that picks the sequence from a result."""
    if callable(output):
        return output
    if output is not None:
        return lambda result: _item(result, output)
    return _first


def _item(result: Any, key: Any) -> Any:
    if isinstance(key, str) and not isinstance(result, Mapping):
        return getattr(result, key)
    return result[key]


def _first(result: Any) -> Any:
    """The tensor itself, `logits`, `last_hidden_state`, or the first item that is there."""
    if is_array(result):
        return result
    for name in PICKED:
        found = result.get(name) if isinstance(result, Mapping) else getattr(result, name, None)
        if is_array(found):
            return found
    if isinstance(result, Mapping):
        return next((v for v in result.values() if is_array(v)), None)
    if is_dataclass(result) and not isinstance(result, type):
        values = [getattr(result, f.name) for f in fields(result)]
        return next((v for v in values if is_array(v)), None)
    if isinstance(result, tuple | list):
        return _first(result[0]) if len(result) else None
    return None
