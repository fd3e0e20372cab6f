"""Test one type against all laws, in a process that may crash."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch

from ..errors import CallError
from ..verify import Verdict, check
from .adapter import Adapter, Built, NotBuilt

GROUPS = (
    (("repeats", "causal", "isolated", "padding", "differentiates"), ("carry",)),
    (("documents",), ("carry", "padding")),
    (("resumes", "sound"), ()),
)
"""Laws that are run in one call, and the options that are left out for it: a cache is for streaming
only, and packed rows get neither a cache nor a mask."""

LAWS = tuple(law for group, _ in GROUPS for law in group)
Tell = Callable[[str, Any], None]


def judge(
    adapter: Adapter, kind: str, effort: str, seconds: float, tell: Tell,
    laws: Collection[str] | None = None,
) -> None:  # fmt: skip
    """Build one type and test it; report every result as soon as it is known.

    `laws` are names of those to run, of the verifier and of the library; None runs all.
    `tell` gets ("built", facts), ("verdict", fields of a verdict) or ("not built", reason).
    """
    torch.set_num_threads(1)
    try:
        built, dtype = _built(adapter, kind)
    except NotBuilt as reason:
        tell("not built", str(reason))
        return
    tell("built", {**built.facts, "dtype": str(dtype).removeprefix("torch.")})
    try:
        for verdict in _verdicts(adapter, built, effort, seconds, laws):
            limit = built.limit(verdict) if verdict.outcome == "broken" else ""
            tell("verdict", {**verdict.as_dict(), "limit": limit})
    except CallError as refused:
        tell("not built", f"it was built, but cannot be called: {refused}")


def _built(adapter: Adapter, kind: str) -> tuple[Built, torch.dtype]:
    """Build in float64, or in float32 if the type does not run in float64."""
    reasons = []
    for dtype in (torch.float64, torch.float32):
        try:
            return adapter.build(kind, dtype), dtype
        except NotBuilt:
            raise
        except Exception as reason:
            reasons.append(_told(reason))
    raise NotBuilt(reasons[-1])


def laws_of(adapter: Adapter) -> list[str]:
    """The names of all laws, in their order."""
    return [*LAWS, *(law for law, _ in adapter.probes())]


def _verdicts(
    adapter: Adapter, built: Built, effort: str, seconds: float, laws: Collection[str] | None
) -> Iterator[Verdict]:
    """Run the laws of the verifier, then those of the library."""
    chosen = set(laws_of(adapter) if laws is None else laws)
    for group, spared in GROUPS:
        how = {name: value for name, value in built.how.items() if name not in spared}
        wanted = [law for law in group if law in chosen and law not in built.faults]
        if not wanted:
            continue
        try:
            yield from check(
                built.module, built.example, laws=wanted, effort=effort, seconds=seconds, **how
            )
        except CallError:
            raise
        except Exception as problem:  # raised by the model when its signature was examined
            for law in wanted:
                yield Verdict(built.kind, law, "not run", sentence=_told(problem))
    for law, told in built.faults.items():
        if law in chosen:
            yield Verdict(built.kind, law, "broken", "raises", sentence=told)
    for law, probe in adapter.probes():
        if law not in chosen:
            continue
        try:
            yield probe(built)
        except Exception as problem:
            yield Verdict(built.kind, law, "broken", "raises", sentence=_told(problem))


def _told(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split()):.200}"
