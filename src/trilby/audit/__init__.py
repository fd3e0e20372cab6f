"""The audit: tests a small model of every type in a model library."""

from .adapter import Adapter, Built, NoLibrary, NotBuilt
from .ledger import Ledger
from .report import Audit
from .runner import ADAPTERS, adapter_of, audited

__all__ = [
    "ADAPTERS", "Adapter", "Audit", "Built", "Ledger", "NoLibrary", "NotBuilt", "adapter_of",
    "audited",
]  # fmt: skip
