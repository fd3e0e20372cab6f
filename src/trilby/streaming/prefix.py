"""A call that gets the whole prefix each time, and a cache of what it has already computed."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .carry import Call, Carry, Loop, Start, Writer, named, opened, passed, starter, taken


@dataclass(frozen=True)
class Prefix:
    """What a call that wants the whole prefix is given next time.

    Attributes:
        sequences: all positions so far; empty before the first.
        past: the cache.
    """

    sequences: tuple[Tensor, ...]
    past: Any


def by_prefix(name: str = "cache", *, start: Start = None) -> Carry:
    """`f(x[:, :t], cache=c) -> y`: every call gets all positions so far, and the cache.

    It may return the outputs of all positions or of the new ones.

    Args:
        name: the keyword of the cache.
        start: makes an empty cache that the calls change in place, as in `by_cache`. None: the
            first call leaves the keyword out, and each call returns the next cache, as in
            `by_state`.
    """
    begin = starter(start)

    def call(now: Call, past: Any) -> tuple[Any, Any]:
        before = past if isinstance(past, Prefix) else Prefix((), past)
        n, old = now.length, before.sequences
        whole = now.with_sequences(lambda i, x: torch.cat([old[i], x], 1) if old else x)
        result = whole(**({} if before.past is None else {name: before.past}))
        y = whole.pick(result)
        after = named(result, name) if start is None else before.past
        return y[:, -n:] if isinstance(y, Tensor) else y, Prefix(whole.sequences, after)

    def loop(write: Writer, over: Loop, more: str) -> list[str]:
        at = f"[:, :{over.end}]"
        given = passed(name) if start is None else f"{name}=past"
        new = f"[:, t - min({over.end}, {over.stop}):]"
        lines = [over.header, f"    out = {write.invocation(at, given, more)}",
                 f"    parts.append(out{write.picked}{new})"]  # fmt: skip
        return lines if start is not None else [*lines, f"    past = {taken(name)}"]

    opening = lambda target, B: opened(start, target, B)
    return Carry(f"{name}=, with the whole prefix", begin, call, opening, loop, prefix=True)
