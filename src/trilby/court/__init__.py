"""The court: the only place that compares."""

from .check import check
from .laws import LAWS
from .report import Report
from .same import same
from .verdict import Verdict

__all__ = ["LAWS", "Report", "Verdict", "check", "same"]
