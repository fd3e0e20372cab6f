"""What ranks tell each other where one of them fails, so that none waits for it and all say why.

A rank that fails writes a note into the store of the group and closes its connections. Those that
wait for it fail then too: they read the notes, write one of their own and close theirs. So a group
in which a rank failed is of no use any more.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
import torch.distributed as dist

from ..errors import RankError

GRACE = 5.0  # seconds in which the other ranks that failed have to write their notes
TAG = 7151  # of messages that are never sent
KEY, FOUND = "trilby fault of rank", "trilby fault found"

P = ParamSpec("P")
R = TypeVar("R")


class Note(NamedTuple):
    """What a rank knows of a failure.

    Attributes:
        own: what was raised on this rank; empty if an exchange with others failed.
        late: whether it waited until the time of the group was over.
        missed: the ranks that it waited for.
        seconds: how long it waited.
    """

    own: str
    late: bool = False
    missed: Sequence[int] = ()
    seconds: float = 0.0


class Failing(NamedTuple):
    """A call on one rank, for those that tell of a failure in it.

    Attributes:
        where: the call as the user knows it.
        group: its ranks; None is all processes.
        rank: this one.
        size: how many there are.
    """

    where: str
    group: Any
    rank: int
    size: int

    def __call__(self, error: BaseException, missed: Sequence[int], seconds: float) -> RankError:
        """The error of a rank whose exchange failed: which rank is the cause, and what it is.

        Args:
            error: what the backend says.
            missed: the ranks that this one waited for.
            seconds: how long.
        """
        words = " ".join(str(error).split())
        self.tell(Note("", "imed out" in words, missed, seconds))
        notes = self._notes()
        cause = self._read(FOUND) or _cause(notes, self.size, words)
        if not notes:  # without the store this rank knows of itself alone
            to = f"with rank {' or '.join(map(str, missed))}" if missed else "between ranks"
            cause = f"an exchange {to} fails, and the store of the group too: {words:.300}"
        self._write(FOUND, cause)
        return RankError(f"{self.where}: {cause}")

    def tell(self, note: Note) -> None:
        """Write a note, and close the connections to all others."""
        self._write(f"{KEY} {self.rank}", json.dumps(note))
        self._close()

    def _close(self) -> None:
        """Close the connections of gloo, by a message that is waited for and never comes."""
        group: Any = dist.group.WORLD if self.group is None else self.group
        if dist.get_backend(group) != "gloo":
            return
        for rank in (r for r in range(self.size) if r != self.rank):
            other = dist.get_global_rank(group, rank)
            try:
                waits = dist.irecv(torch.empty(1), other, group, TAG)
                if waits is not None:
                    waits.wait(timedelta(milliseconds=1))
            except RuntimeError:
                continue

    def _notes(self) -> dict[int, Note]:
        """The notes of all ranks that write one in time."""
        found, stop = dict[int, Note](), time.monotonic() + GRACE
        while len(found) < self.size and time.monotonic() < stop:
            for rank in {*range(self.size)} - found.keys():
                if text := self._read(f"{KEY} {rank}"):
                    found[rank] = Note(*json.loads(text))
            if any(note.own for note in found.values()) or self._read(FOUND):
                break
            time.sleep(0.02)
        return found

    def _store(self) -> Any:
        """The store of the group, None where torch does not show it."""
        group = dist.group.WORLD if self.group is None else self.group
        shown = getattr(group, "get_group_store", None)
        return None if shown is None else shown()

    def _read(self, key: str) -> str:
        """A text of the store; empty where there is none, or the store is gone with its process."""
        with suppress(Exception):
            store = self._store()
            if store is not None and store.check([key]):
                return str(store.get(key), "utf-8")
        return ""

    def _write(self, key: str, text: str) -> None:
        with suppress(Exception):
            store = self._store()
            if store is not None:
                store.set(key, text)


def _cause(notes: Mapping[int, Note], size: int, words: str) -> str:
    """What failed, as far as notes tell; `words` is what the backend says.

    >>> near = Note("", False, [1])
    >>> _cause({0: near, 2: near}, 3, "closed")
    'rank 1 has ended; the others stop, and their group cannot be used any more'
    >>> _cause({0: near, 1: Note("ValueError: no", False, [])}, 2, "closed")
    'rank 1 raises ValueError: no; the others stop, and their group cannot be used any more'
    """
    after = "; the others stop, and their group cannot be used any more"
    raised = [f"rank {r} raises {note.own}" for r, note in sorted(notes.items()) if note.own]
    if raised:
        return ", ".join(raised) + after
    late = any(note.late for note in notes.values())
    lost = _lost(notes, size, late)
    if not lost:
        return f"an exchange between ranks fails, {words:.300}"
    what = "did not arrive before the time of the group was over" if late else "has ended"
    return f"rank {' or '.join(map(str, lost))} {what}{after}"


def _lost(notes: Mapping[int, Note], size: int, late: bool) -> list[int]:
    """The ranks that are missed, of which others wait too long or have a closed connection.

    A rank that came late did not wait itself. Where none is known to have come late, it is among
    those without a note; one of these may have ended its call before.

    >>> _lost({0: Note("", True, [1], 3.0), 1: Note("", False, [0], 0.1)}, 3, True)
    [1]
    """
    longest = max((note.seconds for note in notes.values()), default=0.0)
    behind = [rank for rank, note in sorted(notes.items()) if note.seconds < longest / 2]
    if late and behind:
        return behind
    missing = {*range(size)} - notes.keys()
    waited = {rank for note in notes.values() for rank in note.missed}
    return sorted(missing & waited or missing)


_open: ContextVar[list[Failing] | None] = ContextVar("calls whose ranks have agreed", default=None)


def agreed(call: Failing) -> None:
    """From here an error of this rank is told to the others."""
    calls = _open.get()
    if calls is not None:
        calls.append(call)


def shared(form: Callable[P, R]) -> Callable[P, R]:
    """A form `shard` that tells the other ranks where it raises what they do not know of."""

    @wraps(form)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():  # of one process alone; exchanges are not traced
            return form(*args, **kwargs)
        with _telling():
            return form(*args, **kwargs)

    return call


@contextmanager
def _telling() -> Iterator[None]:
    calls: list[Failing] = []
    before = _open.set(calls)
    try:
        yield
    except RankError:  # the others know
        raise
    except BaseException as error:
        for call in calls:
            said = " ".join(str(error).split())
            call.tell(Note(f"{type(error).__name__}: {said:.300}"))
        raise
    finally:
        _open.reset(before)
