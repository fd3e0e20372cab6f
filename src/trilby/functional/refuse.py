"""What a function of another package takes and trilby cannot honour: an error, never silence."""

from typing import Any

from torch import Tensor

from ..errors import CallError


def refuse(where: str, **given: object) -> None:
    """Raise a CallError for the first that is neither None nor False.

    >>> refuse("f", cp_context=None, gv=False)
    >>> refuse("f", gv=3)
    Traceback (most recent call last):
    trilby.errors.CallError: f: gv is 3, which trilby does not support; leave it out
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise CallError(
                f"{where}: {name} is {shown(value)}, which trilby does not support; leave it out"
            )


def unknown(where: str, rest: dict[str, object]) -> None:
    """Raise a CallError if anything is left of the keywords.

    >>> unknown("f", {"chunk": 3})
    Traceback (most recent call last):
    trilby.errors.CallError: f: there is no argument chunk (given 3); leave it out
    """
    for name, value in rest.items():
        raise CallError(
            f"{where}: there is no argument {name} (given {shown(value)}); leave it out"
        )


def shown(value: object) -> str:
    """A value in one line: a tensor by its sizes.

    >>> shown(torch.zeros(2, 3)), shown("gelu")
    ('a tensor [2, 3]', "'gelu'")
    """
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def renamed(where: str, state_v_first: bool, keywords: dict[str, Any]) -> bool:
    """`state_v_first`, also under its older name, which is taken out of the keywords."""
    older = bool(keywords.pop("transpose_state_layout", False))
    if older and state_v_first:
        raise CallError(
            f"{where}: transpose_state_layout is the older name of state_v_first; drop it"
        )
    return state_v_first or older
