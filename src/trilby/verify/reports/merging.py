"""Lines that differ by their numbers alone become one line."""

import re
from collections.abc import Iterable

_NUMBERS = re.compile(r"\d+(?:\.\d+)?(?: \d+(?:\.\d+)?)*")
MOST = 4  # values of one number that are written out


def merged(lines: Iterable[str]) -> list[str]:
    """The lines, in order; those of equal words are one, with the values of each number.

    >>> merged(["T 66: at most 64, got 66", "T 130: at most 64, got 130", "bfloat16: no"])
    ['T 66/130: at most 64, got 66/130', 'bfloat16: no']
    """
    alike: dict[str, list[list[str]]] = {}
    for line in lines:
        alike.setdefault(_NUMBERS.sub("\0", line), []).append(_NUMBERS.findall(line))
    return [_joined(words.split("\0"), values) for words, values in alike.items()]


def _joined(words: list[str], values: list[list[str]]) -> str:
    columns = [list(dict.fromkeys(column)) for column in zip(*values, strict=True)]
    numbers = ["/".join(c if len(c) <= MOST else [*c[: MOST - 1], "...", c[-1]]) for c in columns]
    return words[0] + "".join(n + w for n, w in zip(numbers, words[1:], strict=True))
