"""A state or a cache that is a keyword of the call."""

from dataclasses import replace
from typing import Any

from .carry import Call, Carry, Loop, Start, Writer, named, opened, passed, starter, taken


def by_state(name: str = "state", start: Start = None, *, one: bool = False) -> Carry:
    """`f(x, state=s) -> (y, s)`: the returned state is passed to the next call.

    Args:
        name: the keyword of the state. It is returned as the second item of a tuple, or under
            that name.
        start: makes the first state; a callable or the name of a method, called with B if it
            takes an argument. None: the first call leaves the keyword out.
        one: only the first call takes several positions, each later one a single position.
    """

    def call(now: Call, past: Any) -> tuple[Any, Any]:
        result = now(**({} if past is None else {name: past}))
        return now.pick(result), named(result, name)

    return _either(Carry(f"{name}=", starter(start), call, *_looped(name, start, "")), one)


def by_cache(name: str = "cache", *, start: Start, one: bool = False) -> Carry:
    """`f(x, cache=c) -> y`: the cache is an object that the call changes in place.

    Args:
        name: the keyword of the cache.
        start: makes an empty cache; a callable or the name of a method, called with B if it takes
            an argument.
        one: only the first call takes several positions, each later one a single position.
    """

    def call(now: Call, past: Any) -> tuple[Any, Any]:
        return now.pick(now(**({} if past is None else {name: past}))), past

    def loop(write: Writer, over: Loop, more: str) -> list[str]:
        called = write.invocation(over.at, f"{name}=past", more) + write.picked
        return [over.header, f"    parts.append({called})"]

    opening = lambda target, B: opened(start, target, B)
    return _either(Carry(f"{name}=, changed in place", starter(start), call, opening, loop), one)


def by_past(name: str = "past_key_values", *, one: bool = False) -> Carry:
    """Hugging Face: `f(ids, past_key_values=p, use_cache=True)`, which returns the next p.

    Args:
        name: the keyword, and the name of the cache in the result.
        one: only the first call takes several positions, each later one a single position.
    """

    def call(now: Call, past: Any) -> tuple[Any, Any]:
        result = now(**({} if past is None else {name: past}), use_cache=True)
        return now.pick(result), named(result, name)

    looped = _looped(name, None, ", use_cache=True")
    return _either(Carry(f"{name}=", starter(None), call, *looped), one)


def _either(carry: Carry, one: bool) -> Carry:
    """The way itself, or the one whose later calls take one position."""
    single = carry.one_by_one()
    return single if one else replace(carry, others=(("one=True", single),))


def _looped(name: str, start: Start, always: str) -> tuple[Any, Any]:
    """The opening, and a loop that passes the returned state to the next call."""

    def loop(write: Writer, over: Loop, more: str) -> list[str]:
        out = write.invocation(over.at, passed(name) + always, more)
        return [over.header, f"    out = {out}",
                f"    parts.append(out{write.picked})", f"    past = {taken(name)}"]  # fmt: skip

    return lambda target, B: opened(start, target, B), loop
