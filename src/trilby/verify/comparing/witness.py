"""Where a fault shows, as data: sentences, reproducers, JSON and XML are written from it."""

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Witness:
    """The call in which a fault shows. What does not apply is None, or empty.

    Attributes:
        row: the row of the batch.
        position: the position of the output that is wrong.
        reads: the first position that it reads and must not, and the one after the last.
        sequence: the argument that it reads.
        length: the length of the prefix that was run alone.
        start: what the call starts from: "nothing", "a state" or "a long past"; of ranks, also
            whether there are documents.
        pieces: the lengths of the pieces of a stream, or of those of ranks.
        rank: the rank that is wrong.
        documents: the lengths of the documents that were packed into a row.
        document: which of them is wrong.
        side: on which side the pads are, "left" or "right".
        pads: how many pads there are.
        edit: the method of the cache that was called, and `rows` the rows that it has afterwards.
        mask: "all ones", "all padding" in one row, or "of a piece": not of all positions so far.
        of: the output of a gradient, and `to` the argument or parameter.
        error: the type of the exception that was raised, and `message` what it says.
    """

    row: int | None = None
    position: int | None = None
    reads: tuple[int, int] | None = None
    sequence: str = ""
    length: int | None = None
    start: str = ""
    pieces: tuple[int, ...] = ()
    rank: int | None = None
    documents: tuple[int, ...] = ()
    document: int | None = None
    side: str = ""
    pads: int | None = None
    edit: str = ""
    rows: tuple[int, ...] = ()
    mask: str = ""
    of: str = ""
    to: str = ""
    error: str = ""
    message: str = ""

    def as_dict(self) -> dict[str, Any]:
        """What is known, for JSON.

        >>> Witness(row=0, pieces=(2, 1)).as_dict()
        {'row': 0, 'pieces': [2, 1]}
        """
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in known.items()
            if value not in (None, "", ())
        }


NOWHERE = Witness()
"""Nothing is broken, or nothing is known of where."""
