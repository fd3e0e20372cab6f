"""Small real sequences that ship with trilby; each call reads them from disk.

==============  ================================================  ===========================
call            what                                              returns
==============  ================================================  ===========================
`sonnets()`     Shakespeare's sonnets                             `str`, 95,728 characters
`sunspots()`    yearly sunspot activity, 1700-2008                `Series`, T = 309
`nile()`        yearly flow of the Nile at Aswan, 1871-1970       `Series`, T = 100
`co2()`         weekly carbon dioxide at Mauna Loa, 1958-2001     `Series`, T = 2284, with gaps
==============  ================================================  ===========================

Sources and licences are in the docstrings and, with checksums, in `DATA.md` beside this file.
"""

import csv
import datetime
from importlib.resources import files
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Series", "co2", "nile", "sonnets", "sunspots"]


class Series(NamedTuple):
    """One measured series.

    Attributes:
        time: `[T]` float64, in calendar years (1958.5 is the middle of 1958).
        values: `[1, T, 1]` float64, in the unit that the function documents; ready for a mixer.
    """

    time: Tensor
    values: Tensor


def sonnets() -> str:
    r"""Shakespeare's 154 sonnets as one text of 95,728 ASCII characters, 62 of them different.

    Lines end in a single newline. The title and the Roman numerals are kept.
    Source: the Project Gutenberg text as carried by the package `shakespeare` 0.6. The text is in
    the public domain; that collection is CC-BY 2.5 (Open Knowledge Foundation).

    >>> text = sonnets()
    >>> text[:34]
    'THE SONNETS\nby William Shakespeare'
    >>> len(text), len(set(text))
    (95728, 62)
    """
    return _text("sonnets_gut.txt")


def sunspots() -> Series:
    """Yearly sunspot activity, 1700-2008: values `[1, 309, 1]`, mean sunspot number of the year.

    Source: the data set `sunspots` of statsmodels, in the public domain.

    >>> time, values = sunspots()
    >>> time[0].item(), values[0, 0, 0].item(), values.shape
    (1700.0, 5.0, torch.Size([1, 309, 1]))
    """
    return _yearly("sunspots.csv")


def nile() -> Series:
    """Yearly flow of the Nile at Aswan, 1871-1970: values `[1, 100, 1]`, in 1e8 cubic metres.

    The level falls in 1898. Source: the data set `nile` of statsmodels, in the public domain.

    >>> time, values = nile()
    >>> time[-1].item(), values[0, -1, 0].item(), values.shape
    (1970.0, 740.0, torch.Size([1, 100, 1]))
    """
    return _yearly("nile.csv")


def co2() -> Series:
    """Weekly carbon dioxide at Mauna Loa, 1958-2001: values `[1, 2284, 1]`, in parts per million.

    Every week from 29 March 1958 to 29 December 2001 has a row. The 59 weeks without a measurement
    are NaN: nothing is filled in, so a running mean is NaN from the first gap on.
    `values[:, ~values[0, :, 0].isnan()]` removes the gaps.
    Source: the data set `co2` of statsmodels, in the public domain.

    >>> time, values = co2()
    >>> values[0, 5:8, 0].tolist(), int(values.isnan().sum())
    ([316.9, nan, 317.5], 59)
    >>> round(time[0].item(), 3), values.shape
    (1958.238, torch.Size([1, 2284, 1]))
    """
    rows = _rows("co2.csv")
    return _series([_year(day) for day, _ in rows], [float(ppm or "nan") for _, ppm in rows])


def _yearly(file: str) -> Series:
    rows = _rows(file)
    return _series([float(year) for year, _ in rows], [float(value) for _, value in rows])


def _series(time: list[float], values: list[float]) -> Series:
    return Series(
        torch.tensor(time, dtype=torch.float64),
        torch.tensor(values, dtype=torch.float64)[None, :, None],
    )


def _rows(file: str) -> list[list[str]]:
    return list(csv.reader(_text(file).splitlines()))[1:]


def _year(day: str) -> float:
    """The date `day` (YYYYMMDD) in years."""
    date = datetime.date(int(day[:4]), int(day[4:6]), int(day[6:]))
    first, last = datetime.date(date.year, 1, 1), datetime.date(date.year + 1, 1, 1)
    return date.year + (date - first).days / (last - first).days


def _text(file: str) -> str:
    return files(__name__).joinpath(file).read_text(encoding="ascii")
