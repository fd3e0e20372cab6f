"""The work of `trilby mix`: a mixer over a file, block after block, joined by the state."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor

from ..card import Mixer
from ..contract import Contract
from ..errors import FileError, TrilbyError
from ..files import BITS, IDS, Bundle, Layout, Staged, open_bundle, open_sink, output_kind
from .progress import watched
from .statefile import Past, read_state, state_bytes

_HEAVY = ("loop", "matrix", "softmax", "step")
_HEAVY_STEPS = 1024
"""Forms whose memory or time grows faster than the block; their default block is short."""

_STATES = 64 << 20
"""About how many bytes the states of all positions of a block may take, in the form `scan`."""


class Plan(NamedTuple):
    """What is known of a run before the values of a file are read."""

    layout: Layout  # of the result
    blank: Any  # a state without values
    parameters: Mapping[str, Any]  # of the mixer, by name


def mix_file(
    card: Mixer[..., Any],
    path: str,
    out: str,
    *,
    form: str | None = None,
    state_in: str | None = None,
    state_out: str | None = None,
    block: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    **reading: Any,
) -> str:
    """Run the mixer over the file `path` into `out`; return a sentence about it.

    Raises:
        TrilbyError: a wrong input; `out` and `state_out` are not changed.
    """
    try:
        output_kind(out)
        _apart(path, out, state_in, state_out)
        past = read_state(state_in, card.name) if state_in else None
        if past and past.columns and path.lower().endswith(".txt") and not reading.get("alphabet"):
            reading["alphabet"] = "".join(past.columns)
        with _stoppable(), open_bundle(path, card.contract.sequences, **reading) as bundle:
            plan = _planned(card, bundle, parameters or {})
            steps = _into(
                card, bundle, plan, out, form=form, past=past, leave=state_out, block=block
            )
    except FileError as error:
        raise FileError(f"mix: {error}") from error
    skipped, shape = bundle.first.skipped, plan.layout.shape
    rest = shape[2:] if len(shape) > 2 else (plan.layout.C,)
    sizes = " x ".join(map(str, (plan.layout.B, steps, *rest)))
    left = f"; {skipped} rows with missing values left out" if skipped else ""
    return f"mix: {card.name} of {path}, {sizes} {plan.layout.dtype}, in {out}{left}"


def _planned(card: Mixer[..., Any], bundle: Bundle, parameters: Mapping[str, Any]) -> Plan:
    """Call the mixer on meta tensors: this checks the call and gives the shape of the result."""
    shapes: dict[str, Any] = {
        name: torch.empty(bundle.shape(name), dtype=_dtype(source.layout.dtype), device="meta")
        for name, source in bundle.sources.items()
    }
    first = next(iter(shapes.values()))
    try:
        given = {
            name: torch.tensor(value, dtype=first.dtype) if isinstance(value, list) else value
            for name, value in parameters.items()
        }
        on_meta = {n: v.to("meta") if isinstance(v, Tensor) else v for n, v in given.items()}
        y, state = card(**shapes, **on_meta)
    except (TrilbyError, ValueError) as error:
        raise FileError(f"{bundle.name}: {error}") from error
    if len(bundle.sources) == 1:
        return Plan(bundle.first.layout, state, given)
    return Plan(Layout(tuple(y.shape), str(y.dtype).removeprefix("torch.")), state, given)


def _into(
    card: Mixer[..., Any],
    bundle: Bundle,
    plan: Plan,
    out: str,
    *,
    form: str | None,
    past: Past | None,
    leave: str | None,
    block: int | None,
) -> int:
    """Write the output and the state, and put both in place when both are complete; return T."""
    before = past.fit(card.contract, plan.blank, bundle) if past else None
    block = block or _steps(card, form, bundle, plan)
    with ExitStack() as stack:
        staged = None if out == "-" else stack.enter_context(Staged(out))
        kept = stack.enter_context(Staged(leave)) if leave else None
        sink = open_sink(out, staged or sys.stdout.buffer, plan.layout)
        stack.callback(sink.abort)
        after = _After(card.contract, plan)
        for y in _stream(card, bundle, after, before=before, form=form, block=block):
            sink.append(_array(y))
        sink.finish(after.steps)
        files = [file for file in (staged, kept) if file]
        if kept:
            kept.write(state_bytes(card.contract, after.state, plan.layout.columns))
        for file in files:
            file.seal()
        for file in files:  # the output first: with the old state the command can be run again,
            file.appear()  # with a new state and an old output the input would count twice
    return after.steps


class _After:
    """The length of the rows after a stream, and the state of each row.

    States are copied into tensors made at the beginning. Small tensors that stay alive between the
    large ones of a block would fragment the heap, and memory would grow with the number of rows.
    """

    def __init__(self, contract: Contract, plan: Plan) -> None:
        self.steps, self.parts, self.parameters = 0, contract.state, plan.parameters
        blank = self.parts.tensors(plan.blank)
        self.tensors = {name: torch.empty_like(t, device="cpu") for name, t in blank.items()}

    @property
    def state(self) -> Any:
        return self.parts.filled(self.tensors)

    def keep(self, rows: slice, state: Any) -> None:
        for name, new in self.parts.tensors(state).items():
            self.tensors[name][rows] = new


def _stream(
    card: Mixer[..., Any],
    bundle: Bundle,
    after: _After,
    *,
    before: Any,
    form: str | None,
    block: int,
) -> Iterator[Tensor]:
    """The result of every block, in order; the states are collected in `after`."""
    rows, state, last = slice(0, 0), None, None
    with watched(bundle) as tick:
        for part, values in bundle.blocks(block):
            if after.steps == 0 or part != rows:  # a new row, or several
                rows, after.steps, last = part, 0, None
                state = None if before is None else _rows(card.contract, before, part)
            if IDS in values:
                if _begins(bundle.name, values[IDS], last, part.start, after.steps):
                    state = None  # a state belongs to the first document of a call
                last = values[IDS][:, -1:]
            given = {
                name: _tensor(array, bundle.sources[name].layout.dtype)
                for name, array in values.items()
            }
            y, state = card(**given, **after.parameters, state=state, form=form)
            after.steps += y.shape[1]
            after.keep(rows, state)
            yield y
            tick()


def _rows(contract: Contract, state: Any, rows: slice) -> Any:
    parts = contract.state
    return parts.filled({name: field[rows] for name, field in parts.tensors(state).items()})


def _begins(path: str, ids: np.ndarray, last: np.ndarray | None, row: int, start: int) -> bool:
    """Whether a block begins with another document than the previous block ended with.

    Raises:
        FileError: ids that decrease, in a block or between two; with their place in the file.
    """
    joined = ids if last is None else np.concatenate([last, ids], 1)
    falls = np.argwhere(joined[:, 1:] < joined[:, :-1])
    if len(falls):
        b, t = falls[0].tolist()
        place = [row + b, start + t + (last is None)]
        raise FileError(
            f"{path}: {IDS} falls from {joined[b, t]} to {joined[b, t + 1]} at {place}; ids never "
            "decrease along a row, sort the documents or number them anew"
        )
    return last is not None and ids.shape[1] > 0 and bool((last != ids[:, :1]).any())


def _steps(card: Mixer[..., Any], form: str | None, bundle: Bundle, plan: Plan) -> int:
    """The default number of positions in a block."""
    steps = bundle.steps()
    if form in _HEAVY:
        return min(steps, _HEAVY_STEPS)
    if form == "scan":
        parts = card.contract.state.tensors(plan.blank).values()
        state = sum(t[:1].numel() * t.element_size() for t in parts)
        return max(1, min(steps, _STATES // max(1, state)))
    return steps


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


def _tensor(values: np.ndarray, dtype: str) -> Tensor:
    x = torch.from_numpy(values)
    return x.view(torch.bfloat16) if dtype == "bfloat16" else x


def _array(y: Tensor) -> np.ndarray:
    if y.dtype == torch.bfloat16:
        return y.contiguous().view(torch.int16).numpy().view(BITS["bfloat16"])
    return y.numpy()


def _apart(path: str, out: str, state_in: str | None, state_out: str | None) -> None:
    """Raise if two arguments name one file; only the state may be read from and written to one."""
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
    """On SIGTERM or SIGHUP leave as after an error, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set signal handlers
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
