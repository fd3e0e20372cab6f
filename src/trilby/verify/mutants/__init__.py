"""Running means with one fault each, to show that each law can fail."""

from . import (
    agrees,
    causal,
    compiles,
    differentiates,
    documents,
    isolated,
    repeats,
    resumes,
    shards,
    sound,
)
from .wrong import Mutant

_LAWS = (repeats, causal, resumes, isolated, documents, differentiates, agrees, sound, compiles)

MUTANTS: dict[str, Mutant] = {mutant.name: mutant for law in _LAWS for mutant in law.MUTANTS}
"""Name -> mutant, in the order of the laws that they break first."""

SHARDED: dict[str, Mutant] = {mutant.name: mutant for mutant in shards.MUTANTS}
"""The same of sequences in pieces on several ranks, for the law `shards`."""

__all__ = ["MUTANTS", "SHARDED", "Mutant"]
