"""Mathematics that several mixers share. It works on tensors and imports no mixer."""

from .fade import fade, faded
from .packing import firsts
from .prefix import scan

__all__ = ["fade", "faded", "firsts", "scan"]
