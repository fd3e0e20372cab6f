"""The verifier: every law on a mixer or a module, and whether two ways are one function."""

from .check import check
from .laws import LAWS
from .reports.report import Report
from .reports.verdict import Verdict
from .same import same

__all__ = ["LAWS", "Report", "Verdict", "check", "same"]
