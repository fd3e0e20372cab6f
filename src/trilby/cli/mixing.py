"""The work of `trilby mix`: a mixer over a file, block after block, joined by the state."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from ..card import Mixer
from ..errors import FileError
from ..files import BITS, IDS, Bundle, Staged, holds_text, open_bundle, open_sink
from .columns import Columns, channel
from .planning import Plan, dtype_of, few, planned
from .progress import watched
from .statefile import Past, read_state, state_bytes


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
    skip = bool(reading.get("skip_missing"))
    try:
        apart(path, out, state_in, state_out)
        past = read_state(state_in, card.name) if state_in else None
        with stoppable(), opened(card, path, out, past, reading) as bundle:
            plan = planned(card, bundle, parameters or {}, form)
            run = (Apart if skip else Together)(card, bundle, plan, past)
            _into(run, out, form=form, leave=state_out, block=block or plan.steps)
    except FileError as error:
        raise FileError(f"mix: {error}") from error
    skipped = bundle.first.skipped
    return told_of(run, path, out, [f"{skipped} missing values skipped"] * bool(skipped))


def opened(
    card: Mixer[..., Any], path: str, out: str, past: Past | None, reading: Mapping[str, Any]
) -> Bundle:
    """The sequences that the mixer reads from `path`."""
    reading = dict(reading)
    if not holds_text(out) and (reading.get("keep") or reading.get("index") is not None):
        raise FileError(f"{out}: holds numbers alone; write a .csv or a .parquet to keep text")
    if past and past.columns and path.lower().endswith(".txt") and not reading.get("alphabet"):
        reading["alphabet"] = "".join(past.columns)
    needed = card.contract.needed
    optional = [name for name in card.contract.sequences if name not in needed]
    return open_bundle(path, needed, optional, **reading)


def told_of(run: "Together | Apart", path: str, out: str, notes: list[str]) -> str:
    """The sentence about a run that is done."""
    layout = run.plan.layout
    rest = layout.shape[2:] if len(layout.shape) > 2 else (layout.C,)
    sizes = " x ".join(map(str, (layout.B, run.steps, *rest)))
    said = f"mix: {run.card.name} of {path}, {sizes} {layout.dtype}, in {out}"
    return "; ".join([said, *notes, *run.bundle.first.noted])


def _into(
    run: "Together | Apart", out: str, *, form: str | None, leave: str | None, block: int
) -> None:
    """Write the output and the state, and put both in place when both are complete."""
    with ExitStack() as stack:
        staged = None if out == "-" else stack.enter_context(Staged(out))
        kept = stack.enter_context(Staged(leave)) if leave else None
        sink = open_sink(out, staged or sys.stdout.buffer, run.plan.layout)
        stack.callback(sink.abort)
        beside = holds_text(out)
        for y, columns in run.stream(form, block):
            if columns is not None and beside:
                sink.keep(columns)
            sink.append(array_of(y))
        sink.finish(run.steps)
        files = [file for file in (staged, kept) if file]
        if kept:
            names = run.plan.layout.columns
            kept.write(state_bytes(run.card.contract, run.state, names, run.last))
        for file in files:
            file.seal()
        for file in files:  # the output first: with the old state the command can be run again,
            file.appear()  # with a new state and an old output the input would count twice


class Together:
    """A stream whose rows have one state each: the length of the rows, and the states after it.

    States are copied into tensors made at the beginning. Small tensors that stay alive between the
    large ones of a block would fragment the heap, and memory would grow with the number of rows.
    """

    last: Tensor | None = None

    def __init__(
        self, card: Mixer[..., Any], bundle: Bundle, plan: Plan, past: Past | None
    ) -> None:
        self.card, self.bundle, self.plan, self.steps = card, bundle, plan, 0
        self.before = past.fit(card.contract, plan.blank, bundle) if past else None
        self.parts = card.contract.state
        blank = self.parts.tensors(plan.blank)
        self.tensors = {name: torch.empty_like(t) for name, t in blank.items()}

    @property
    def state(self) -> Any:
        return self.parts.filled(self.tensors)

    def stream(self, form: str | None, block: int) -> Iterator[tuple[Tensor, Any]]:
        """The result of every block, in order, and the columns that are kept."""
        rows, state, last, done = slice(0, 0), None, None, 0
        with watched(self.bundle) as tick:
            for part, values, kept in self.bundle.blocks(block):
                if self.steps == 0 or part != rows:  # a new row, or several
                    rows, self.steps, last = part, 0, None
                    state = self.first(part)
                if IDS in values:
                    if begins(self.bundle.name, values[IDS], last, part.start, self.steps):
                        state = None  # a state belongs to the first document of a call
                    last = values[IDS][:, -1:]
                given = given_of(self.bundle, values) | self.plan.parameters
                chosen = form or few(self.card, self.plan, done, given)
                y, state = self.card(**given, state=state, form=chosen)
                self.steps += y.shape[1]
                done += y.shape[0] * y.shape[1]
                self.store(state, rows)
                yield y, kept
                tick()

    def store(self, state: Any, rows: slice) -> None:
        """Copy the states of some rows; what grows is made longer for all of them."""
        after = self.parts.tensors(state)
        self.tensors = self.parts.extended(self.tensors, after)
        for name, new in self.parts.extended(after, self.tensors).items():
            self.tensors[name][rows] = new

    def first(self, rows: slice) -> Any:
        """The states that some rows start from; None without any."""
        if self.before is None:
            return None
        found = {name: field[rows] for name, field in self.parts.tensors(self.before).items()}
        return self.parts.filled(found)


class Apart:
    """A stream whose columns have one state each, as `--skip-missing` needs it."""

    def __init__(
        self, card: Mixer[..., Any], bundle: Bundle, plan: Plan, past: Past | None
    ) -> None:
        self.card, self.bundle, self.plan, self.steps = card, bundle, plan, 0
        C, x = plan.layout.C, torch.zeros((), dtype=dtype_of(plan.layout.dtype))
        blank = card.contract.state.blank(x, plan.size | {"B": C, channel(card): 1})
        last = torch.full((C, 1), torch.nan, dtype=torch.float64)
        if past:
            blank = past.fit(card.contract, blank, bundle, apart=True)
            last = last if past.last is None else past.last
        self.columns = Columns(card, plan.parameters, blank, last)

    @property
    def state(self) -> Any:
        return self.columns.state

    @property
    def last(self) -> Tensor | None:
        return self.columns.last

    def stream(self, form: str | None, block: int) -> Iterator[tuple[Tensor, Any]]:
        """As `Together.stream`."""
        with watched(self.bundle) as tick:
            for _, values, kept in self.bundle.blocks(block):
                given = given_of(self.bundle, values)
                (x,) = given.values()
                chosen = form or few(self.card, self.plan, self.steps, given | self.plan.parameters)
                y = self.columns.mix(x, chosen) if x.numel() else x
                self.steps += x.shape[1]
                yield y, kept
                tick()


def given_of(bundle: Bundle, values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The values of a block as tensors."""
    return {name: _tensor(v, bundle.sources[name].layout.dtype) for name, v in values.items()}


def begins(path: str, ids: np.ndarray, last: np.ndarray | None, row: int, start: int) -> bool:
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


def _tensor(values: np.ndarray, dtype: str) -> Tensor:
    x = torch.from_numpy(values)
    return x.view(torch.bfloat16) if dtype == "bfloat16" else x


def array_of(y: Tensor) -> np.ndarray:
    """A result as it is written."""
    if y.dtype == torch.bfloat16:
        return y.contiguous().view(torch.int16).numpy().view(BITS["bfloat16"])
    return y.numpy()


def apart(path: str, out: str, state_in: str | None, state_out: str | None) -> None:
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
def stoppable() -> Iterator[None]:
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
