"""The court: the only place that compares."""

from .same import same
from .verdict import Verdict

__all__ = ["Verdict", "same"]
