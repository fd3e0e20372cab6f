"""One type before all laws, in the process that may die of it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..court import Verdict, check
from ..errors import CallError
from .adapter import Adapter, Built, NotBuilt
from .probes import FACTOR, logits_of, noise, padded

GROUPS = (
    (("repeats", "causal", "isolated", "padding", "differentiates"), ("carry",)),
    (("documents",), ("carry", "padding")),
    (("resumes", "sound"), ()),
)
"""Laws that are judged in one call, and what that call is not told: a cache is for streams, and
a packed row has neither a cache nor a mask."""

LAWS = tuple(law for group, _ in GROUPS for law in group)
EXACT = ("raises", "not finite", "gradient missing", "gradient wrong", "second gradient")
"""Kinds of breach that are no matter of size."""

BY_DIFFERENCES = ("gradient wrong", "second gradient")
Tell = Callable[[str, Any], None]


def judge(adapter: Adapter, kind: str, effort: str, seconds: float, tell: Tell) -> None:
    """Build one type and judge it, telling each thing as soon as it is known.

    Told are ("built", facts), ("verdict", fields of a verdict) and ("not built", reason).
    What breaks in float64 is judged again in float32: masks of the smallest float64, which become
    infinite in a softmax in float32, are no fault of a model that nobody runs in float64.
    """
    torch.set_num_threads(1)
    began = time.monotonic()
    try:
        built, dtype = _built(adapter, kind)
    except NotBuilt as reason:
        tell("not built", str(reason))
        return
    tell("built", {**built.facts, "dtype": str(dtype).removeprefix("torch.")})
    second = Second(adapter, built, began + seconds, effort)
    try:
        for verdict in _verdicts(adapter, built, effort, seconds):
            if verdict.outcome == "broken":
                verdict = second.opinion(verdict, dtype)
            limit = built.limit(verdict) if verdict.outcome == "broken" else ""
            tell("verdict", {**verdict.as_dict(), "limit": limit})
    except CallError as refused:
        tell("not built", f"it is built, and cannot be called: {refused}")


def _built(adapter: Adapter, kind: str) -> tuple[Built, torch.dtype]:
    """In float64, or in float32 where the type takes no other."""
    reasons = []
    for dtype in (torch.float64, torch.float32):
        try:
            return adapter.build(kind, dtype), dtype
        except NotBuilt:
            raise
        except Exception as reason:
            reasons.append(f"{type(reason).__name__}: {' '.join(str(reason).split()):.300}")
    raise NotBuilt(reasons[-1])


def _verdicts(
    adapter: Adapter, built: Built, effort: str, seconds: float, only: str = ""
) -> Iterator[Verdict]:
    """By the laws of the court, then by those of the library; `only` names a single one."""
    own = dict(adapter.probes())
    if only not in own:
        yield from _court(built, effort, seconds, [only] if only else list(LAWS))
    for law, probe in own.items():
        if only in ("", law):
            try:
                yield probe(built)
            except Exception as problem:
                told = f"{type(problem).__name__}: {' '.join(str(problem).split()):.200}"
                yield Verdict(built.kind, law, "broken", "raises", sentence=told)


def _court(built: Built, effort: str, seconds: float, laws: list[str]) -> Iterator[Verdict]:
    for group, spared in GROUPS:
        how = {name: value for name, value in built.how.items() if name not in spared}
        wanted = [law for law in laws if law in group and law not in built.faults]
        if wanted:
            yield from check(
                built.module, built.example, laws=wanted, effort=effort, seconds=seconds, **how
            )
    for law in laws:
        if law in built.faults:
            yield Verdict(built.kind, law, "broken", "raises", sentence=built.faults[law])


class Second:
    """A second opinion on what broke, since no model is run in float64 and most round inside.

    Parts of most models compute in float32 whatever their dtype, so an error counts once it is
    larger than what rounding in float32 may do; and a mask of the smallest float64, which is
    infinite in a softmax in float32, is no fault, so it counts once it breaks in float32 too.
    """

    def __init__(self, adapter: Adapter, built: Built, until: float, effort: str) -> None:
        self.adapter, self.built, self.until, self.effort = adapter, built, until, effort
        self.narrow: Built | None = None
        self.allowed: float | None = None
        self.ids = built.example(2, 33, 5)

    def opinion(self, verdict: Verdict, dtype: torch.dtype) -> Verdict:
        """The verdict again, or that it holds and why."""
        if verdict.kind in BY_DIFFERENCES and self._rounds():
            said = f"it rounds to float32 inside, so differences are no truth: {verdict.sentence}"
            return replace(verdict, outcome="not run", kind="", sentence=said)
        if verdict.kind not in EXACT and verdict.error and verdict.error <= self._allowed():
            said = f"{verdict.sentence}; rounding in float32 inside may do {self._allowed():.1g}"
            return replace(verdict, outcome="holds", kind="", sentence=said)
        left = self.until - time.monotonic()
        if dtype != torch.float64 or left < 1:
            return verdict
        try:
            self.narrow = self.narrow or self.adapter.build(self.built.kind, torch.float32)
        except Exception:
            return verdict
        if verdict.law == "padding" and verdict.error == float("inf"):
            others = iter([padded(self.narrow)])  # the court asks in float64 whatever it is given
        else:
            others = _verdicts(self.adapter, self.narrow, self.effort, left, verdict.law)
        for other in others:
            if other.law == verdict.law and other.outcome != "broken":
                said = f"{verdict.sentence}; in float64 only, in float32: {other.sentence}"
                return replace(other, sentence=said)
        return verdict

    def _call(self) -> torch.Tensor:
        with torch.no_grad():
            return logits_of(self.built.module(**self.ids))

    def _allowed(self) -> float:
        """What rounding in float32 may do to the logits."""
        if self.allowed is None:
            self.allowed = FACTOR * noise(self.built.module, self._call)
        return self.allowed

    def _rounds(self) -> bool:
        """Whether a float64 model computes something in a narrower dtype."""
        with Narrowing() as seen:
            self._call()
        return seen.narrow


class Narrowing(TorchDispatchMode):
    """Notices an operator that takes float64 and gives a narrower dtype."""

    narrow = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        wide = any(isinstance(a, torch.Tensor) and a.dtype == torch.float64 for a in args)
        if wide and isinstance(result, torch.Tensor) and result.is_floating_point():
            self.narrow |= result.dtype != torch.float64
        return result
