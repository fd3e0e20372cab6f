"""How a module keeps its state between calls, for `carry=` of `trilby.check`.

A state that is passed in and returned, a cache that is changed in place, Hugging Face's
`past_key_values`, methods for streaming, a state inside the module, and calls that get the whole
prefix again: each with any names.
"""

from .carry import FIRST, Call, Carry, Loop
from .inside import by_module
from .keywords import by_cache, by_past, by_state
from .methods import by_methods
from .prefix import by_prefix

__all__ = [
    "FIRST",
    "Call",
    "Carry",
    "Loop",
    "by_cache",
    "by_methods",
    "by_module",
    "by_past",
    "by_prefix",
    "by_state",
]
