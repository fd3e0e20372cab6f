"""Run each type in its own process, forked from one that has imported everything, with a limit."""

import contextlib
import multiprocessing
import os
import pkgutil
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ..errors import CallError
from .adapter import Adapter, NoLibrary
from .ledger import Row

GRACE = 5.0  # seconds past the limit before a process is ended
ADAPTERS: dict[str, Callable[[], Any]] = {
    "transformers": lambda: import_module(".transformers", __package__),
    "transformers, accelerated": lambda: import_module(".accelerated", __package__),
    "x-transformers": lambda: import_module(".x_transformers", __package__),
}
"""The libraries with an adapter in trilby; any other is given as `module:adapter`."""
PARTS = ("name", "preload", "version", "kinds", "build", "probes")  # of an `Adapter`


def adapter_of(name: str) -> Adapter:
    """The adapter of a library, by the library's name or as `package.module:name`.

    Raises:
        CallError: there is no such adapter, or it is none.
        NoLibrary: its module cannot be imported.
    """
    if name in ADAPTERS:
        return ADAPTERS[name]().ADAPTER
    if ":" not in name:
        known = " ".join(one for one in ADAPTERS if "," not in one)  # the rest is an option
        raise CallError(f"audit: there is no adapter {name!r}; take one of {known}, or MODULE:NAME")
    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as missing:
        raise NoLibrary(f"audit: there is no adapter {name!r} ({missing})") from missing
    if lacks := [part for part in PARTS if not hasattr(found, part)]:
        raise CallError(f"audit: {name!r} is not an adapter, it lacks {', '.join(lacks)}")
    return found


@dataclass
class Running:
    """One process: the type, the start time, and the results so far."""

    kind: str
    process: BaseProcess
    ear: Connection
    began: float
    complaints: str
    deaf: bool = False
    row: Row = field(default_factory=dict)


def audited(
    name: str, kinds: list[str], *, jobs: int, effort: str, seconds: float,
    laws: Collection[str] | None = None, judged: Callable[..., None] | None = None,
    shown: Callable[[list[str], int], None] = lambda _running, _left: None,
) -> Iterator[Row]:  # fmt: skip
    """Test types and yield their rows, in the order in which they finish.

    Args:
        name: of the adapter.
        kinds: names of types.
        jobs: processes at a time.
        effort: of `trilby.check`.
        seconds: after which a process is ended; what it had told by then is kept.
        laws: names of those to run; None runs all.
        judged: what judges; for tests.
        shown: told again and again which types are being judged, and how many wait.

    Interrupting it ends the processes that it started, and no other.
    """
    context = multiprocessing.get_context("forkserver")
    preload = ["trilby.audit.judge", *adapter_of(name).preload]
    context.set_forkserver_preload(preload)
    waiting = list(kinds)
    running: list[Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                judging = judged or partial(_judged, laws)
                work = (name, waiting.pop(0), effort, seconds, judging)
                running.append(_start(context, *work))
            shown([one.kind for one in running], len(waiting))
            wait([one.ear for one in running if not one.deaf], timeout=0.2)
            for one in list(running):
                if _done(one, seconds):
                    running.remove(one)
                    yield one.row
    finally:
        for one in running:
            _end(one)


def _start(context: Any, name: str, kind: str, effort: str, seconds: float, judged: Any) -> Running:
    ear, mouth = context.Pipe(duplex=False)
    handle, complaints = tempfile.mkstemp(prefix="trilby-audit-")
    os.close(handle)
    work = (mouth, complaints, name, kind, effort, seconds, judged)
    process = context.Process(target=_work, args=work, daemon=True)
    process.start()
    mouth.close()
    row = {
        "kind": kind,
        "status": "",
        "reason": "",
        "facts": {},
        "verdicts": [],
        "seconds": 0.0,
        "cpu": 0.0,
    }
    return Running(kind, process, ear, time.monotonic(), complaints, row=row)


def _work(
    mouth: Connection, complaints: str, name: str, kind: str, effort: str, seconds: float,
    judged: Any,
) -> None:  # fmt: skip
    """The work of one process; what the library prints goes to a file."""
    if hasattr(signal, "alarm"):
        signal.alarm(int(seconds + GRACE) + 5)  # ends it if the parent is gone
    with open(complaints, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    judged(adapter_of(name), kind, effort, seconds, lambda what, told: mouth.send((what, told)))
    mouth.send(("done", round(time.process_time(), 2)))


def _judged(laws: Collection[str] | None, *work: Any) -> None:
    """Of `judge`, which is imported in the process that needs it."""
    from .judge import judge

    partial(judge, laws=laws)(*work)


def _done(one: Running, seconds: float) -> bool:
    """Receive messages of a process; return whether it is done."""
    row, took = one.row, time.monotonic() - one.began
    row["seconds"] = round(took, 2)
    try:
        while not one.deaf and one.ear.poll():
            _hear(row, *one.ear.recv())
    except (EOFError, OSError):
        one.deaf = True  # it has closed its end of the pipe
    if row["status"] == "judged" or (row["status"] and one.deaf):
        _end(one)
        return True
    if took > seconds + GRACE:
        row["status"], row["reason"] = "out of time", f"stopped after {took:.0f} s"
        _end(one)
        return True
    if one.deaf or not (one.process.is_alive() or one.ear.poll()):
        one.process.join()
        row["status"], row["reason"] = "crashed", _epitaph(one)
        _end(one)
        return True
    return False


def _hear(row: Row, what: str, told: Any) -> None:
    if what == "built":
        row["facts"] = told
    elif what == "verdict":
        row["verdicts"].append(told)
    elif what == "not built":
        row["status"], row["reason"] = "not built", told
    elif what == "done":
        row["cpu"] = told
        row["status"] = row["status"] or "judged"


def _end(one: Running) -> None:
    """End a process that we started, and drop what it printed."""
    if one.process.is_alive():
        one.process.kill()
    one.process.join()
    one.ear.close()
    with contextlib.suppress(OSError):
        os.unlink(one.complaints)


def _epitaph(one: Running) -> str:
    """How a process ended, and the last line that it wrote."""
    code = one.process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    try:
        with open(one.complaints, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError:
        lines = []
    return f"{how}: {lines[-1]:.200}" if lines else how
