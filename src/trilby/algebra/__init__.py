"""Mathematics that several rooms share: it knows tensors and has never heard of a mixer."""

from .fade import fade, faded
from .packing import firsts
from .prefix import scan

__all__ = ["fade", "faded", "firsts", "scan"]
