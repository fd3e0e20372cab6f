"""The court: the only place that compares."""

from .check import check
from .laws import LAWS
from .same import same
from .telling.report import Report
from .telling.verdict import Verdict

__all__ = ["LAWS", "Report", "Verdict", "check", "same"]
