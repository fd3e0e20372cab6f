"""The laws, in order: each protects the next."""

from . import (
    agrees,
    causal,
    compiles,
    differentiates,
    documents,
    isolated,
    padding,
    repeats,
    resumes,
    shards,
    sound,
)
from .law import Law

LAWS: dict[str, Law] = {
    module.LAW.name: module.LAW
    for module in (
        repeats,
        causal,
        resumes,
        isolated,
        padding,
        documents,
        differentiates,
        agrees,
        sound,
        compiles,
    )
}
"""Name of a law -> the law, in the order in which they are run."""

ACROSS: dict[str, Law] = {shards.LAW.name: shards.LAW}
"""The law about several processes, which `check` is asked for with `world=`."""

__all__ = ["ACROSS", "LAWS", "Law"]
