"""The work of `trilby mix`: a mixer over a file, block after block, joined by the state."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from ..card import Mixer
from ..errors import FileError
from ..files import BITS, Sink, Source, Staged, open_sink, open_source, output_kind
from .progress import watched
from .statefile import Past, read_state, state_bytes

_HEAVY = ("loop", "matrix", "softmax", "step")
_HEAVY_STEPS = 1024
"""Forms whose memory or time per block grows faster than the block get short ones by default."""


def mix_file(
    card: Mixer,
    path: str,
    out: str,
    *,
    form: str | None = None,
    state_in: str | None = None,
    state_out: str | None = None,
    block: int | None = None,
    **reading: Any,
) -> str:
    """Run the mixer over the file `path` into `out`; return a sentence about it.

    Raises:
        TrilbyError: an input that is not what it should be; `out` and `state_out` are untouched.
    """
    try:
        output_kind(out)
        _apart(path, out, state_in, state_out)
        past = read_state(state_in, card.name) if state_in else None
        if past and past.columns and path.lower().endswith(".txt") and not reading.get("alphabet"):
            reading["alphabet"] = "".join(past.columns)
        with _stoppable(), open_source(path, **reading) as source:
            steps = _into(card, source, out, form=form, past=past, leave=state_out, block=block)
    except FileError as error:
        raise FileError(f"mix: {error}") from error
    B, C, skipped = source.layout.B, source.layout.C, source.skipped
    left = f"; {skipped} rows with missing values left out" if skipped else ""
    return f"mix: {card.name} of {path}, {B} x {steps} x {C} {source.layout.dtype}, in {out}{left}"


def _into(
    card: Mixer,
    source: Source,
    out: str,
    *,
    form: str | None,
    past: Past | None,
    leave: str | None,
    block: int | None,
) -> int:
    """Write the output and the state, and let both appear when both are whole; return T."""
    before = past.fit(card, source) if past else None
    if block is None and form in _HEAVY:
        block = min(source.layout.steps(), _HEAVY_STEPS)
    with ExitStack() as stack:
        staged = None if out == "-" else stack.enter_context(Staged(out))
        kept = stack.enter_context(Staged(leave)) if leave else None
        sink = open_sink(out, staged or sys.stdout.buffer, source.layout)
        stack.callback(sink.abort)
        steps, after = _stream(card, source, sink, before=before, form=form, block=block)
        sink.finish(steps)
        files = [file for file in (staged, kept) if file]
        if kept:
            kept.write(state_bytes(after, card.name, source.layout.columns))
        for file in files:
            file.seal()
        for file in files:  # the output first: the old state and a new output can be run again,
            file.appear()  # the new state and an old output would count the same input twice
    return steps


def _stream(
    card: Mixer, source: Source, sink: Sink, *, before: Any, form: str | None, block: int | None
) -> tuple[int, Any]:
    """Every block through the mixer; return T and the state after it, rows joined again."""
    steps, rows, whole = 0, slice(0, 0), None
    state: Any = None
    with watched(source) as tick:
        for part, values in source.blocks(block):
            if steps == 0 or part != rows:  # a new row, or several
                rows, steps = part, 0
                state = before and type(before)(*(field[part] for field in before))
            y, state = card(_tensor(values, source.layout.dtype), state, form=form)
            sink.append(_array(y))
            steps += values.shape[1]
            whole = _kept(whole, rows, state, source.layout.B)
            tick()
    return steps, whole


def _kept(whole: Any, rows: slice, state: Any, B: int) -> Any:
    """The state of every row, those of `rows` now as in `state`.

    Copied into one place at once: small tensors that stay behind between the large ones of a block
    keep the heap from being used again, and the memory would grow with the number of rows.
    """
    if whole is None:
        whole = type(state)(*(field.new_empty((B, *field.shape[1:])) for field in state))
    for field, new in zip(whole, state, strict=True):
        field[rows] = new
    return whole


def _tensor(values: np.ndarray, dtype: str) -> Tensor:
    x = torch.from_numpy(values)
    return x.view(torch.bfloat16) if dtype == "bfloat16" else x


def _array(y: Tensor) -> np.ndarray:
    if y.dtype == torch.bfloat16:
        return y.contiguous().view(torch.int16).numpy().view(BITS["bfloat16"])
    return y.numpy()


def _apart(path: str, out: str, state_in: str | None, state_out: str | None) -> None:
    """Refuse one file in two parts; only the state may be read from and left in one place."""
    named = {"IN": path, "OUT": out, "--state-in": state_in, "--state-out": state_out}
    where = {role: os.path.realpath(file) for role, file in named.items() if file and file != "-"}
    for one, other in [
        ("IN", "OUT"),
        ("IN", "--state-out"),
        ("OUT", "--state-in"),
        ("OUT", "--state-out"),
    ]:
        if one in where and where[one] == where.get(other):
            raise FileError(f"{named[one]}: is both {one} and {other}; choose another for one")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let a termination or a hang-up leave the way an error does, so that nothing stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    before = {
        number: signal.signal(number, _leave)
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
