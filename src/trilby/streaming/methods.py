"""Methods for streaming: one for a position, one for several."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import CallError
from .carry import Call, Carry, Loop, Start, Writer, method, opened, starter


def by_methods(
    start: Start = "init_state",
    step: str | None = "step",
    chunk: str | None = None,
    *,
    keep_time: bool = False,
    multiple: int = 1,
    exactly: int | None = None,
) -> Carry:
    """`s = m.init_state(B)`, then `y_t, s = m.step(x_t, s)` or `y, s = m.chunk(x, s)`.

    Args:
        start: makes the first state, as in `by_state`.
        step: takes one position `[B, ...]` of every sequence, and the state. None: there is only
            `chunk`, and pieces are as long as it takes them.
        chunk: takes several positions `[B, n, ...]`; None: positions go one by one.
        keep_time: `step` takes and returns `[B, 1, ...]`, with the axis of time.
        multiple: `chunk` takes lengths that are a multiple of it.
        exactly: `chunk` takes this many positions and no others; a longer piece is many calls.

    Raises:
        CallError: neither method is named, or a length is given and no `chunk`.
    """
    _checked(step, chunk, multiple, exactly)
    way = _Methods(step, chunk, keep_time, exactly or multiple, exactly)
    other: tuple[tuple[str, Carry], ...] = ()
    if step is not None and not keep_time:
        timed = by_methods(start, step, chunk, keep_time=True, multiple=multiple, exactly=exactly)
        other = (("keep_time=True", timed),)
    return Carry(
        " and ".join(f"{name}()" for name in (step, chunk) if name), starter(start), way.call,
        lambda target, B: opened(start, target, B), way.loop,
        multiple=way.block if step is None else 1, any_length=step is not None, others=other,
    )  # fmt: skip


def _checked(step: str | None, chunk: str | None, multiple: int, exactly: int | None) -> None:
    block = exactly or multiple
    if step is None and chunk is None:
        raise CallError("by_methods: step and chunk are both None; name one of them")
    if block != 1 and chunk is None:
        raise CallError(f"by_methods: a length of {block} is given and no chunk; name that method")
    if block < 1 or (exactly is not None and multiple != 1):
        raise CallError(
            f"by_methods: multiple is {multiple} and exactly is {exactly}; give one, 1 or more"
        )


@dataclass(frozen=True)
class _Methods:
    """The calls of the methods; `block` is the length, or the multiple, that `chunk` takes."""

    step: str | None
    chunk: str | None
    keep_time: bool
    block: int
    exactly: int | None

    def call(self, now: Call, past: Any) -> tuple[Any, Any]:
        """Several positions by `chunk` as far as they fit, and the rest one by one."""
        if past is None:
            return now.pick(now()), None
        several = self.chunk is not None and (now.length > 1 or self.step is None)
        whole = now.length - now.length % self.block if several else 0
        parts = []
        for t in range(0, whole, self.exactly or max(whole, 1)):
            here = now.part(t, t + (self.exactly or whole))
            y, past = method(here.target, str(self.chunk))(*here.args, past, **here.kwargs)
            parts.append(y)
        for t in range(whole, now.length):
            y, past = self._stepped(now.part(t, t + 1), past)
            parts.append(y)
        return now.picked(torch.cat(parts, 1), now.length), past

    def _stepped(self, now: Call, past: Any) -> tuple[Tensor, Any]:
        """One position; the result has the axis of time."""
        if not self.keep_time:
            now = now.with_sequences(lambda _i, x: x[:, 0])
        y, past = method(now.target, str(self.step))(*now.args, past, **now.kwargs)
        return y if self.keep_time else y[:, None], past

    def loop(self, write: Writer, over: Loop, more: str) -> list[str]:
        """The calls, as Python."""
        wide = self.chunk is not None and (over.n > 1 or self.step is None)
        wide = wide and over.n % self.block == 0
        if wide and over.pieces and self.step is None and not self.exactly:
            return [over.header, f"    y, past = f.{self.chunk}({write.listed(over.at)}past)",
                    "    parts.append(y)"]  # fmt: skip
        n = (self.exactly or over.n) if wide else 1
        axis = f"[:, t:t + {n}]" if wide or self.keep_time else "[:, t]"
        given = f", {more}" if more else ""
        return [
            f"for t in range({over.start}, {over.stop}, {n}):",
            *([f"    u = t + {n}"] if over.one and more else []),
            f"    y, past = f.{self.chunk if wide else self.step}({write.listed(axis)}past{given})",
            f"    parts.append(y{'' if wide or self.keep_time else '[:, None]'})",
        ]
