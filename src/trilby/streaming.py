"""How a module keeps its state between calls, for `carry=` of `trilby.check`.

There are four ways, with any names: a state that is passed in and returned, a cache that is changed
in place, Hugging Face's `past_key_values`, and methods for streaming.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Start = str | Callable[..., Any] | None
FIRST: Any = ...  # the past of a stream before its first position; a copy of it is the same object


@dataclass(frozen=True)
class Carry:
    """One way to keep the state between calls.

    Attributes:
        told: its name in a report, e.g. "state=".
        begin: (subject, B) -> the state before the first position; None means no state.
        call: (subject, args, kwargs, names of the sequences, past) -> (result, past).
        lines: (call, T, n, B) -> Python code that runs a stream in pieces of n and collects the
            results in the list `parts`; call("past=p", "[0]") is the code of one call.
    """

    told: str
    begin: Callable[[Any, int], Any]
    call: Callable[..., tuple[Any, Any]]
    lines: Callable[[Callable[..., str], int, int, int], list[str]]

    def first(self, subject: Any, B: int) -> Any:
        """The state before the first position, or FIRST."""
        past = self.begin(subject, B)
        return FIRST if past is None else past


def by_state(name: str = "state", start: Start = None) -> Carry:
    """`f(x, state=s) -> (y, s)`: the returned state is passed to the next call.

    Args:
        name: the keyword of the state. It is returned as the second item of a tuple, or under
            that name.
        start: makes the first state; a callable or the name of a method, called with B if it
            takes an argument. None: the first call leaves the keyword out.
    """

    def call(subject: Any, args: Any, kwargs: Any, _slots: Any, past: Any) -> tuple[Any, Any]:
        result = subject(*args, **kwargs, **({} if past is None else {name: past}))
        return result, _named(result, name)

    return Carry(f"{name}=", _starter(start), call, _looped(name, start, ""))


def by_cache(name: str = "cache", *, start: Start) -> Carry:
    """`f(x, cache=c) -> y`: the cache is an object that the call changes in place.

    Args:
        name: the keyword of the cache.
        start: makes an empty cache; a callable or the name of a method, called with B if it takes
            an argument.
    """

    def call(subject: Any, args: Any, kwargs: Any, _slots: Any, past: Any) -> tuple[Any, Any]:
        given = {} if past is None else {name: past}
        return subject(*args, **kwargs, **given), past

    def lines(piece: Any, T: int, n: int, B: int) -> list[str]:
        loop = f"for t in range(0, {T}, {n}):"
        return [*_first(start, B), loop,
                f"    parts.append({piece(f'{name}=past', pick=True)})"]  # fmt: skip

    return Carry(f"{name}=, changed in place", _starter(start), call, lines)


def by_past(name: str = "past_key_values") -> Carry:
    """Hugging Face: `f(ids, past_key_values=p, use_cache=True)`, which returns the next p.

    Args:
        name: the keyword, and the name of the cache in the result.
    """

    def call(subject: Any, args: Any, kwargs: Any, _slots: Any, past: Any) -> tuple[Any, Any]:
        given = {} if past is None else {name: past}
        result = subject(*args, **kwargs, **given, use_cache=True)
        return result, _named(result, name)

    return Carry(f"{name}=", _starter(None), call, _looped(name, None, ", use_cache=True"))


def by_methods(start: Start = "init_state", step: str = "step", chunk: str | None = None) -> Carry:
    """`s = m.init_state(B)`, then `y_t, s = m.step(x_t, s)` or `y, s = m.chunk(x, s)`.

    Args:
        start: makes the first state, as in `by_state`.
        step: takes one position `[B, ...]` of every sequence, and the state.
        chunk: takes several positions `[B, n, ...]`; None: positions go one by one.
    """

    def call(subject: Any, args: Any, kwargs: Any, slots: Any, past: Any) -> tuple[Any, Any]:
        if past is None:
            return subject(*args, **kwargs), None
        length = next(_held(args, kwargs, slot).shape[1] for slot in slots)
        if chunk is not None and length != 1:
            return _pair(getattr(subject, chunk)(*args, past, **kwargs))
        parts = []
        for t in range(length):
            now = _position(args, kwargs, slots, t)
            y, past = _pair(getattr(subject, step)(*now[0], past, **now[1]))
            parts.append(y)
        return torch.stack(parts, 1), past

    def lines(piece: Any, T: int, n: int, B: int) -> list[str]:
        one = f"y, past = f.{step}({piece(None, at='[:, t]')}past)"
        many = f"y, past = f.{chunk}({piece(None, at=f'[:, t:t + {n}]')}past)"
        wide = chunk is not None and n > 1
        return [
            *_first(start, B),
            f"for t in range(0, {T}, {n if wide else 1}):",
            f"    {many if wide else one}",
            f"    parts.append(y{'' if wide else '[:, None]'})",
        ]

    return Carry(f"{step}()" + (f" and {chunk}()" if chunk else ""), _starter(start), call, lines)


def _looped(name: str, start: Start, more: str) -> Callable[..., list[str]]:
    """The lines of a loop that passes the returned state to the next call."""

    def lines(piece: Any, T: int, n: int, B: int) -> list[str]:
        given = f"**({{}} if past is None else {{{name!r}: past}}){more}"
        took = f"out[1] if isinstance(out, tuple) else out.{name}"
        return [*_first(start, B), f"for t in range(0, {T}, {n}):",
                f"    out = {piece(given)}", f"    parts.append({piece(None, of='out')})",
                f"    past = {took}"]  # fmt: skip

    return lines


def _first(start: Start, B: int) -> list[str]:
    """Python code that makes the first state; for a function of the user it is a comment."""
    if start is None:
        return ["past, parts = None, []"]
    if isinstance(start, str):
        return [f"past, parts = f.{start}({B}), []"]
    return [
        f"past = ...  # what {getattr(start, '__name__', 'start')} makes for B={B}",
        "parts = []",
    ]


def _starter(start: Start) -> Callable[[Any, int], Any]:
    def begin(subject: Any, B: int) -> Any:
        if start is None:
            return None
        make = getattr(subject, start) if isinstance(start, str) else start
        return make(B) if _takes_one(make) else make()

    return begin


def _takes_one(make: Callable[..., Any]) -> bool:
    try:
        inspect.signature(make).bind(1)
    except (TypeError, ValueError):
        return False
    return True


def _named(result: Any, name: str) -> Any:
    """The entry `name` of a result, or its second item."""
    if isinstance(result, Mapping):
        return result.get(name)
    if isinstance(result, tuple | list) and not hasattr(result, name):
        return result[1] if len(result) > 1 else None
    return getattr(result, name, None)


def _pair(result: Any) -> tuple[Any, Any]:
    y, state = result
    return y, state


def _held(args: Any, kwargs: Any, slot: int | str) -> Tensor:
    return args[slot] if isinstance(slot, int) else kwargs[slot]


def _position(args: Any, kwargs: Any, slots: Any, t: int) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with position t of every sequence in place of the sequence."""
    placed = [a[:, t] if i in slots else a for i, a in enumerate(args)]
    return placed, {k: v[:, t] if k in slots else v for k, v in kwargs.items()}
