"""What a way to keep the state between calls is made of."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Start = str | Callable[..., Any] | None
FIRST: Any = ...  # the past of a stream before its first position; a copy of it is the same object


@dataclass(frozen=True)
class Call:
    """One call of a stream.

    Attributes:
        target: what is called.
        args, kwargs: what it is called with, without the state.
        slots: where the sequences stand: an index of args, or a key of kwargs.
        pick: picks the sequence from a result.
    """

    target: Any
    args: list[Any]
    kwargs: dict[str, Any]
    slots: tuple[int | str, ...]
    pick: Callable[[Any], Any]

    def __call__(self, **more: Any) -> Any:
        """The result of the call, with more keywords."""
        return self.target(*self.args, **self.kwargs, **more)

    @property
    def sequences(self) -> tuple[Tensor, ...]:
        """The sequences, in order."""
        return tuple(self.args[s] if isinstance(s, int) else self.kwargs[s] for s in self.slots)

    @property
    def length(self) -> int:
        """How many positions it has."""
        return self.sequences[0].shape[1]

    def with_sequences(self, change: Callable[[int, Tensor], Tensor]) -> "Call":
        """The same with `change(i, sequence i)` in place of each sequence."""
        made = {
            s: change(i, x) for i, (s, x) in enumerate(zip(self.slots, self.sequences, strict=True))
        }
        args = [made.get(i, a) for i, a in enumerate(self.args)]
        return replace(self, args=args, kwargs={k: made.get(k, v) for k, v in self.kwargs.items()})

    def part(self, start: int, stop: int) -> "Call":
        """The same with some of the positions."""
        return self.with_sequences(lambda _i, x: x[:, start:stop])

    def picked(self, y: Any, length: int) -> Any:
        """The sequence `[B, length, ...]` in what a method returned."""
        try:
            found = self.pick(y)
        except Exception:  # it picks from the result of a call, and a method returns another
            return y
        fits = isinstance(found, Tensor) and found.ndim > 1 and found.shape[1] == length
        return found if fits else y


@dataclass(frozen=True)
class Loop:
    """Python that goes over positions `start` to `stop` in pieces of n.

    Attributes:
        start, stop, n: numbers of positions.
        one: after the first piece the positions go one by one.
        pieces: the lengths of uneven pieces, in place of n; empty: they are even.
    """

    stop: int
    n: int
    start: int = 0
    one: bool = False
    pieces: tuple[int, ...] = ()

    @property
    def header(self) -> str:
        """The line that begins the loop."""
        if self.pieces:
            ends = list(accumulate(self.pieces, initial=self.start))
            return f"for t, u in {list(pairwise(ends))}:"
        if self.one:
            firsts = f"[{self.start}, *range({self.start + self.n}, {self.stop})]"
            return f"for t, u in zip({firsts}, range({self.start + self.n}, {self.stop + 1})):"
        return f"for t in range({self.start}, {self.stop}, {self.n}):"

    @property
    def end(self) -> str:
        """The position after the last one of a piece."""
        return "u" if self.one or self.pieces else f"t + {self.n}"

    @property
    def at(self) -> str:
        """What cuts a piece out of a sequence."""
        return f"[:, t:{self.end}]"


class Writer(Protocol):
    """Writes Python for a call of f.

    Attributes:
        target: what f is.
        rows: B.
        picked: Python that follows a call to pick the sequence from its result.
    """

    @property
    def target(self) -> Any: ...

    @property
    def rows(self) -> int: ...

    @property
    def picked(self) -> str: ...

    def invocation(self, at: str, *given: str) -> str:
        """A call with each sequence cut by `at`, and with more keywords."""

    def listed(self, at: str) -> str:
        """The sequences, each cut by `at` and followed by a comma."""


@dataclass(frozen=True)
class Carry:
    """One way to keep the state between calls.

    Attributes:
        told: its name in a report, e.g. "state=".
        begin: (target, B) -> the state before the first position; None means no state.
        call: (call, past) -> (the sequence, the next past).
        opening: (target, B) -> Python that makes the first state `past` and an empty list `parts`.
        loop: (writer, loop, more keywords) -> Python that runs pieces and collects the results.
        multiple: pieces are as long as a multiple of it.
        one: a call that continues takes one position only, so that a longer piece is many calls.
        any_length: positions go one by one wherever a method for several does not fit.
        again: (target, past, B) -> the state before the first position of a second stream; None:
            it is the same as that of the first.
        inside: the state is kept inside the module.
        prefix: every call gets all positions so far.
        before: Python that comes before the first call of f.
        others: words of an option -> the way with that option, tried where this one raises.
    """

    told: str
    begin: Callable[[Any, int], Any]
    call: Callable[[Call, Any], tuple[Any, Any]]
    opening: Callable[[Any, int], list[str]]
    loop: Callable[[Writer, Loop, str], list[str]]
    multiple: int = 1
    one: bool = False
    any_length: bool = False
    again: Callable[[Any, Any, int], Any] | None = None
    inside: bool = False
    prefix: bool = False
    before: tuple[str, ...] = ()
    others: tuple[tuple[str, "Carry"], ...] = ()

    def first(self, target: Any, B: int) -> Any:
        """The state before the first position, or FIRST."""
        past = self.begin(target, B)
        return FIRST if past is None else past

    def lines(self, writer: Writer, loop: Loop, more: str = "") -> list[str]:
        """Python that runs a stream from its start, and collects the results in `parts`."""
        return [*self.opening(writer.target, writer.rows), *self.following(writer, loop, more)]

    def following(self, writer: Writer, loop: Loop, more: str = "") -> list[str]:
        """Python that goes on, and collects the results in `parts`."""
        one = loop.one or (self.one and not loop.pieces)
        return self.loop(writer, replace(loop, one=one), more)

    def one_by_one(self) -> "Carry":
        """The same where a call that continues takes one position only."""
        return replace(self, call=_one_by_one(self.call), one=True, others=())


@dataclass(frozen=True)
class Begun:
    """The past of a stream that has begun: from now on the positions go one by one."""

    past: Any


def _one_by_one(call: Callable[[Call, Any], tuple[Any, Any]]) -> Any:
    def again(whole: Call, past: Any) -> tuple[Any, Any]:
        if not isinstance(past, Begun):
            y, past = call(whole, past)
            return y, Begun(past)
        parts, past = [], past.past
        for t in range(whole.length):
            y, past = call(whole.part(t, t + 1), past)
            parts.append(y)
        return torch.cat(parts, 1), Begun(past)

    return again


def starter(start: Start) -> Callable[[Any, int], Any]:
    """What makes the first state: (target, B) -> state."""

    def begin(target: Any, B: int) -> Any:
        if start is None:
            return None
        make = method(target, start) if isinstance(start, str) else start
        return make(B) if takes(make, 1) else make()

    return begin


def method(target: Any, name: str) -> Callable[..., Any]:
    """A method of the target, or that of the one module that a function reaches."""
    inner = [m for m in target.children() if hasattr(m, name)] if _is_module(target) else []
    owner = inner[0] if len(inner) == 1 and not hasattr(target, name) else target
    found: Callable[..., Any] = getattr(owner, name)
    return found


def _is_module(target: Any) -> bool:
    return isinstance(target, nn.Module)


def takes(make: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        inspect.signature(make).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def opened(start: Start, target: Any, B: int) -> list[str]:
    """Python that makes the first state; a function that cannot be imported is a comment."""
    if start is None:
        return ["past, parts = None, []"]
    if isinstance(start, str):
        return [f"past, parts = f.{start}({B if takes(method(target, start), 1) else ''}), []"]
    given = B if takes(start, 1) else ""
    if home := importable(start):
        return [f"from {home} import {start.__name__}",
                f"past, parts = {start.__name__}({given}), []"]  # fmt: skip
    return [
        f"past = ...  # what {getattr(start, '__name__', 'start')} makes for B={B}",
        "parts = []",
    ]


def importable(way: Any) -> str:
    """The module from which a function or class can be imported by its name; empty: none."""
    home, name = getattr(way, "__module__", ""), getattr(way, "__name__", "")
    found = getattr(sys.modules.get(home), name, None) is way and home != "__main__"
    return home if found else ""


def named(result: Any, name: str) -> Any:
    """The entry `name` of a result, or its second item."""
    if isinstance(result, Mapping):
        return result.get(name)
    if isinstance(result, tuple | list) and not hasattr(result, name):
        return result[1] if len(result) > 1 else None
    return getattr(result, name, None)


def passed(name: str) -> str:
    """Python that gives a call the past under a keyword, and leaves it out before there is one."""
    return f"**({{}} if past is None else {{{name!r}: past}})"


def taken(name: str) -> str:
    """Python that takes from a result what `named` takes."""
    return f"out[1] if isinstance(out, tuple) else out.{name}"
