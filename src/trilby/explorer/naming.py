"""What `explore` is given: a mixer by name with arguments, a mixer, a module or a function."""

import os
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

from ..card import Mixer
from ..errors import CallError, FileError
from ..mixers import MIXERS
from ..shapes import what
from .tokens import NAME, printable


class Named(NamedTuple):
    """One thing that was given.

    Attributes:
        name: what the page calls it.
        python: how it was given, as Python.
        target: a mixer, or what is called.
        arguments: of a mixer, its parameters by name.
    """

    name: str
    python: str
    target: "Mixer[..., Any] | Callable[..., Any]"
    arguments: dict[str, Any]


def named(given: object) -> Named:
    """Read one thing.

    Raises:
        CallError: no such mixer or parameter, or something that cannot be called.
        FileError: a path where there is no folder.

    >>> named("ema:0.95").arguments, named("attention:window=8").arguments
    ({'a': 0.95}, {'window': 8})
    """
    if isinstance(given, str):
        name, colon, rest = given.partition(":")
        if name not in MIXERS:
            if os.sep in given:
                raise FileError(
                    f"explore: {given} is not a folder; give that of a checkpoint on disk, or the "
                    "name of a mixer"
                )
            near = get_close_matches(name, MIXERS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "take one of"
            raise CallError(
                f"explore: there is no mixer {name!r}; {hint} ({' '.join(MIXERS)}), or a module"
            )
        said = _arguments(given, MIXERS[name], rest.split(",") if colon else [])
        return Named(given, repr(given), MIXERS[name], said)
    if isinstance(given, Mixer):
        return Named(given.name, f"trilby.{given.name}", given, {})
    if not callable(given):
        raise CallError(
            f"explore: {what(given)} is given, expected the name of a mixer, a mixer, a module or "
            "a function"
        )
    name = printable(getattr(given, "__name__", type(given).__name__), NAME)
    return Named(name, name, given, {})


def _arguments(given: str, mixer: "Mixer[..., Any]", texts: list[str]) -> dict[str, Any]:
    """The parameters that a text like "ema:0.95" or "attention:window=8,scale=1" gives."""
    takes = mixer.contract.arguments
    known = [n for n in mixer.contract.parameters if takes[n].number or takes[n].flag]
    found: dict[str, Any] = {}
    for place, text in enumerate(texts):
        name, equals, value = text.strip().rpartition("=")
        if not equals and place < len(known):
            name = known[place]
        if name not in known:
            raise CallError(
                f"explore: {given!r} gives {text.strip()!r}, and the numbers and flags of "
                f"{mixer.name} are {', '.join(known) or 'none'}; write e.g. 'ema:0.95'"
            )
        found[name] = _value(given, name, value)
    return found


def _value(given: str, name: str, text: str) -> bool | float:
    if text in ("True", "False"):
        return text == "True"
    try:
        number = float(text)
    except ValueError:
        raise CallError(f"explore: {given!r} gives {name} as {text!r}, expected a number") from None
    return int(number) if number.is_integer() and "." not in text and "e" not in text else number
