"""The forms that a mixer may have. Imports no torch, so that the command line starts fast."""

import inspect
import re
from collections.abc import Callable
from typing import Any

FORMS = ("loop", "matrix", "softmax", "scan", "chunk", "step", "shard", "fused")
"""Forms in the order in which mixers define them, pages list them and the verifier runs them."""


def cost(form: Callable[..., Any]) -> str:
    """The cost of a form, from its docstring."""
    told = re.search(
        r"^Cost: (.*?)(?:\n\s*\n|\nNumerics|\Z)", inspect.getdoc(form) or "", re.M | re.S
    )
    return " ".join(told[1].split()).rstrip(".") if told else "not stated"
