"""Methods for streaming: one for a position, one for several."""

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
    block = exactly or multiple
    if step is None and chunk is None:
        raise CallError("by_methods: step and chunk are both None; name one of them")
    if block != 1 and chunk is None:
        raise CallError(f"by_methods: a length of {block} is given and no chunk; name that method")
    if block < 1 or (exactly is not None and multiple != 1):
        raise CallError(
            f"by_methods: multiple is {multiple} and exactly is {exactly}; give one, 1 or more"
        )
    stepped = _Step(step, keep_time)

    def call(now: Call, past: Any) -> tuple[Any, Any]:
        if past is None:
            return now.pick(now()), None
        several = chunk is not None and (now.length > 1 or step is None)
        whole = now.length - now.length % block if several else 0
        parts = []
        for t in range(0, whole, exactly or max(whole, 1)):
            here = now.part(t, t + (exactly or whole))
            y, past = method(here.target, str(chunk))(*here.args, past, **here.kwargs)
            parts.append(y)
        for t in range(whole, now.length):
            y, past = stepped(now.part(t, t + 1), past)
            parts.append(y)
        return now.picked(torch.cat(parts, 1), now.length), past

    def loop(write: Writer, over: Loop, more: str) -> list[str]:
        wide = chunk is not None and (over.n > 1 or step is None) and over.n % block == 0
        n = (exactly or over.n) if wide else 1
        axis = f"[:, t:t + {n}]" if wide or keep_time else "[:, t]"
        name = chunk if wide else step
        if wide and over.pieces and step is None:
            return [over.header, f"    y, past = f.{chunk}({write.listed(over.at)}past)",
                    "    parts.append(y)"]  # fmt: skip
        return [
            f"for t in range({over.start}, {over.stop}, {n}):",
            *([f"    u = t + {n}"] if over.one and more else []),
            f"    y, past = f.{name}({write.listed(axis)}past{', ' + more if more else ''})",
            f"    parts.append(y{'' if wide or keep_time else '[:, None]'})",
        ]

    options: dict[str, Any] = dict(multiple=multiple, exactly=exactly)
    other = () if keep_time or step is None else (
        ("keep_time=True", by_methods(start, step, chunk, keep_time=True, **options)),
    )  # fmt: skip
    told = " and ".join(f"{name}()" for name in (step, chunk) if name)
    return Carry(
        told, starter(start), call, lambda target, B: opened(start, target, B), loop,
        multiple=block if step is None else 1, any_length=step is not None, others=other,
    )  # fmt: skip


class _Step:
    """The call of one position, whose result has the axis of time."""

    def __init__(self, name: str | None, keep_time: bool) -> None:
        self.name, self.keep_time = str(name), keep_time

    def __call__(self, now: Call, past: Any) -> tuple[Tensor, Any]:
        if not self.keep_time:
            now = now.with_sequences(lambda _i, x: x[:, 0])
        y, past = method(now.target, self.name)(*now.args, past, **now.kwargs)
        return y if self.keep_time else y[:, None], past
