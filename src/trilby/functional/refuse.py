"""What a function of another package takes and trilby cannot honour: an error, never silence."""

from typing import Any

from ..errors import CallError


def refuse(where: str, **given: object) -> None:
    """Raise a CallError for the first that is neither None nor False.

    >>> refuse("f", cp_context=None, gv=False)
    >>> refuse("f", gv=3)
    Traceback (most recent call last):
    trilby.errors.CallError: f: gv is not supported by trilby; leave it out, or take the original
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise CallError(
                f"{where}: {name} is not supported by trilby; leave it out, or take the original"
            )


def unknown(where: str, rest: dict[str, object]) -> None:
    """Raise a CallError if anything is left of the keywords.

    >>> unknown("f", {"chunk": 3})
    Traceback (most recent call last):
    trilby.errors.CallError: f: there is no argument chunk (given 3); leave it out
    """
    for name, value in rest.items():
        raise CallError(f"{where}: there is no argument {name} (given {value!r}); leave it out")


def renamed(where: str, state_v_first: bool, keywords: dict[str, Any]) -> bool:
    """`state_v_first`, also under its older name, which is taken out of the keywords."""
    older = bool(keywords.pop("transpose_state_layout", False))
    if older and state_v_first:
        raise CallError(
            f"{where}: transpose_state_layout is the older name of state_v_first; drop it"
        )
    return state_v_first or older
