"""Columns that were mixed although they look like an index: whole numbers that rise or fall."""

from collections.abc import Sequence

import numpy as np

from .choosing import typed

_FEWEST = 3
"""Rows: in fewer of them numbers rise by chance."""


class Counting:
    """Which columns hold whole numbers that rise in every row, or fall in every row.

    Years, dates such as 20260131 and row numbers do. So may measurements: nothing is done about
    such a column but to name it.

    Args:
        columns: the names of the columns that are mixed.

    >>> counting = Counting(["year", "x"])
    >>> counting.see(np.array([[1871.0, 2.0], [1872.0, 5.0]]))
    >>> counting.see(np.array([[1873.0, 3.0]]))
    >>> counting.found()
    ['year']
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns, self.rows = columns, 0
        self.rising = np.ones(len(columns), bool)
        self.falling = np.ones(len(columns), bool)
        self.last = np.empty((0, len(columns)))

    def see(self, values: np.ndarray) -> None:
        """Look at the next `[rows, C]`."""
        left = np.flatnonzero(self.rising | self.falling)
        if not len(values) or not len(left):
            return
        joined = np.concatenate([self.last[:, left], values[:, left]])
        steps = np.diff(joined, axis=0)
        whole = (joined == np.floor(joined)).all(0)
        self.rising[left] &= whole & (steps > 0).all(0)
        self.falling[left] &= whole & (steps < 0).all(0)
        self.last, self.rows = values[-1:], self.rows + len(values)

    def told(self) -> list[int]:
        """What is known of the rows so far, as whole numbers."""
        return [self.rows, *map(int, self.rising), *map(int, self.falling)]

    def of_all(self, told: Sequence[Sequence[int]]) -> "Counting":
        """What is known of the rows of several, each of which has seen other ones."""
        whole, n = Counting(self.columns), len(self.columns)
        whole.rows = sum(rows for rows, *_ in told)
        flags = np.logical_and.reduce([one[1:] for one in told])
        whole.rising, whole.falling = flags[:n], flags[n:]
        return whole

    def found(self) -> list[str]:
        """Their names; none if all columns are so, or if there are too few rows to tell."""
        so = self.rising | self.falling
        if so.all() or self.rows < _FEWEST:
            return []
        return [name for name, one in zip(self.columns, so, strict=True) if one]

    def noted(self) -> tuple[str, ...]:
        """A sentence about them, if there are any."""
        return tuple(
            f"column {name} was mixed and looks like an index, as its whole numbers only rise or "
            f"only fall; --keep {typed(name)} copies it"
            for name in self.found()
        )
