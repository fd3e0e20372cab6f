"""Tokens as people read them: they are texts of users, and may hold anything."""

from collections.abc import Sequence

MOST = 24  # characters of one token
NAME = 80  # characters of the name of a module, a model or a function


def visible(token: str, most: int = MOST) -> str:
    r"""The token with what cannot be seen written out, and cut where it is long.

    Control characters, and those that turn the direction of writing, never reach a terminal.

    >>> visible("a b\n"), visible("\x1b[31m"), visible("\u202eabc"), visible("")
    ('a␣b\\n', '\\x1b[31m', '\\u202eabc', "''")
    """
    return printable(token, most).replace(" ", "␣") or "''"


def printable(text: str, most: int) -> str:
    r"""The text of at most `most` characters, those that cannot be printed written out.

    >>> printable("a\x1b[31m", 80), printable("abcd", 3)
    ('a\\x1b[31m', 'ab…')
    """
    shown = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text[: most + 1]
    )
    return shown if len(text) <= most else shown[: most - 1] + "…"


def place(tokens: Sequence[str], t: int) -> str:
    """A position with its token; numbers that only count are not said twice.

    >>> place(["a", "b"], 1), place(["0", "1"], 1)
    ("1 'b'", '1')
    """
    return str(t) if tokens[t] == str(t) else f"{t} '{visible(tokens[t])}'"
