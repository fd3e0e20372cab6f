"""Shared by all commands: the message for an unknown name, and the key of an option."""

from difflib import get_close_matches

COLOR = "trilby.color"
"""The key in a context's `meta` under which `--color` is kept."""


def unknown(what: str, given: str, known: list[str]) -> str:
    """The message for a name that does not exist, with the closest one that does.

    >>> unknown("command", "tuor", ["tour", "list"])
    "there is no command 'tuor'; did you mean 'tour'? (tour list)"
    """
    near = get_close_matches(given, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "take one of"
    return f"there is no {what} {given!r}; {hint} ({' '.join(known)})"
