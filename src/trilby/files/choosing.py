"""Which columns of a table are mixed, which are kept as they are, and which are left out."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import FileError


class Chosen(NamedTuple):
    """The columns of a table by their place.

    Attributes:
        mixed: they go through the mixer, in this order.
        kept: they are copied to the output, before the others.
        noted: sentences about what was not asked for.
        named: whether the user named those that are mixed.
    """

    mixed: list[int]
    kept: list[int]
    noted: tuple[str, ...] = ()
    named: bool = False


def choose_columns(
    name: str,
    header: Sequence[str],
    unnamed: Sequence[int] = (),
    *,
    columns: Sequence[str] = (),
    keep: Sequence[str] = (),
    index: str | None = None,
    all_but: Sequence[str] = (),
) -> Chosen:
    """The columns that the options of `trilby mix` choose.

    Args:
        name: the path, for errors.
        header: the names of all columns.
        unnamed: places of columns that count the rows rather than measure something; they are
            kept unless an option names them.
        columns, keep, index, all_but: as the options of that name.

    Raises:
        FileError: a column is not there, is there twice, or is asked for two things.

    >>> choose_columns("x.csv", ["", "a", "b"], [0], all_but=["b"])[:2]
    ([1], [0])
    """
    if columns and all_but:
        raise FileError(f"{name}: --column and --all-but were both given; choose one of them")
    place = {column: _place(name, header, column) for column in {*columns, *keep, *all_but}}
    kept = [] if index is None else [_place(name, header, index)]
    kept += [place[column] for column in keep if place[column] not in kept]
    wanted = [place[column] for column in columns]
    left = {place[column] for column in all_but}
    for column in kept:
        if column in wanted or column in left:
            other = "--column" if column in wanted else "--all-but"
            raise FileError(
                f"{name}: column {header[column]!r} is both kept and in {other}; choose one"
            )
    own = [i for i in unnamed if i not in kept and i not in wanted and i not in left]
    noted = tuple(
        f"column {i + 1} has no name, so it was kept and not mixed"
        if not header[i]
        else f"the index {header[i]} was kept and not mixed"
        for i in own
    )
    kept = [*own, *kept] if index is None else [kept[0], *own, *kept[1:]]
    rest = [i for i in range(len(header)) if i not in kept and i not in left]
    mixed = wanted or rest
    if not mixed:
        raise FileError(f"{name}: no column is left to mix; its columns are {', '.join(header)}")
    return Chosen(mixed, kept, noted, bool(wanted))


def typed(column: str) -> str:
    """The name of a column as it is typed on a command line.

    >>> typed("day"), typed("first name")
    ('day', "'first name'")
    """
    return shlex.quote(column)


def _place(name: str, header: Sequence[str], column: str) -> int:
    found = header.count(column)
    if found != 1:
        many = f"{found} columns" if found else "no column"
        raise FileError(f"{name}: has {many} {column!r}; its header is {', '.join(header)}")
    return header.index(column)
