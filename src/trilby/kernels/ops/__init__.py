"""The operators of trilby, family by family. Imports torch alone."""

from . import fading_memory as _fading_memory
from . import prefix_mean as _prefix_mean
from .fading_memory import fading_memory
from .operator import Operator
from .prefix_mean import prefix_mean, prefix_mean_backward

__all__ = ["DEVICES", "OPERATORS", "fading_memory", "prefix_mean", "prefix_mean_backward"]

OPERATORS: tuple[Operator, ...] = (
    _prefix_mean.FORWARD,
    _prefix_mean.BACKWARD,
    _fading_memory.FORWARD,
    _fading_memory.BACKWARD,
)
"""Every operator; a new one is a line here."""


def devices(operators: tuple[Operator, ...]) -> tuple[str, ...]:
    """The types of device on which all of these operators run; on `meta` they give shapes alone."""
    first, *rest = operators
    return (*(d for d in first.devices if all(d in o.devices for o in rest)), "meta")


DEVICES = devices(OPERATORS)
"""Where every operator runs."""
