"""`trilby.explore`: the triangle of any mixer or module, to look at and to touch."""

from .explored import Explored
from .exploring import explore

__all__ = ["Explored", "explore"]
