"""How a csv is written: what stands between the cells, and how numbers look."""

import csv
import re
from typing import Any, NamedTuple, Self

from ..errors import FileError

SEPARATORS = {"\t": "a tab", ";": "';'", ",": "','", "|": "'|'"}
"""What may stand between cells, the surest first, and the words for each."""

MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "None", "n/a", "null",
)  # fmt: skip
"""Cells without a value, as pandas reads them. `nan` is a number that `--skip-missing` skips."""

_LETTERS = {"tab": "\t", "\\t": "\t", "space": " "}


class Dialect(NamedTuple):
    """How a csv is written.

    Attributes:
        sep: the character between two cells.
        quote: the character around cells that hold separators or line ends; "" for none.
        decimal: the decimal point.
        thousands: the character between groups of three digits; "" for none.
        comment: lines that begin with it are left out; "" for none.
        header: whether the first line names the columns.

    >>> Dialect(sep=";").cells('"a;b";c')
    ['a;b', 'c']
    >>> bool(Dialect(thousands=".", decimal=",").number.match("-1.234,5"))
    True
    """

    sep: str = ","
    quote: str = '"'
    decimal: str = "."
    thousands: str = ""
    comment: str = ""
    header: bool = True

    @property
    def pattern(self) -> str:
        """A regular expression of a number, for Python and for pyarrow."""
        point, digits = re.escape(self.decimal), r"\d+"
        if self.thousands:
            digits = rf"(?:\d{{1,3}}(?:{re.escape(self.thousands)}\d{{3}})+|\d+)"
        number = rf"(?:{digits}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"
        return rf"^\s*[+-]?(?:{number}|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN])\s*$"

    @property
    def number(self) -> re.Pattern[str]:
        """The same, compiled."""
        return re.compile(self.pattern)

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments of a reader of Python's csv module."""
        if not self.quote:
            return dict(delimiter=self.sep, quoting=csv.QUOTE_NONE)
        return dict(delimiter=self.sep, quotechar=self.quote)

    def cells(self, row: str) -> list[str]:
        """The cells of one row, without spaces around them."""
        found = next(csv.reader(row.splitlines(keepends=True), **self.reading))
        return [cell.strip() for cell in found]

    def checked(self, name: str) -> Self:
        """Itself, if every part is one character and no two are the same.

        Raises:
            FileError: which option is wrong.
        """
        given = dict(sep=self.sep, quote=self.quote, decimal=self.decimal,
                     thousands=self.thousands, comment=self.comment)  # fmt: skip
        seen: dict[str, str] = {}
        for option, value in given.items():
            if option in ("sep", "decimal") and not value:
                raise FileError(f"{name}: --{option} is '', expected one character; give one")
            if option != "comment" and (len(value.encode()) > 1 or value in ("\n", "\r")):
                raise FileError(
                    f"{name}: --{option} is {value!r}, expected one ASCII character; give one"
                )
            if value and value in seen:
                raise FileError(
                    f"{name}: --{seen[value]} and --{option} are both {value!r}; choose another"
                )
            seen[value] = option
        return self


def letter(value: str) -> str:
    """A separator as people write it on a command line: `tab` and `\\t` are a tab."""
    return _LETTERS.get(value, value)


def guess(row: str, quote: str) -> str | None:
    """The separator of a row: the first of `SEPARATORS` that it holds outside of quotes, or None.

    >>> guess('"a,b";c', '"'), guess("a", '"')
    (';', None)
    """
    mark = re.escape(quote)
    bare = re.sub(f"{mark}[^{mark}]*{mark}", "", row) if quote else row
    return next((sep for sep in SEPARATORS if sep in bare), None)
