"""Law 7: `torch.compile` changes nothing, and every operator of ours keeps torch's contract."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..nest import clone, leaves
from ..subject import Subject, differences
from ..verdict import Verdict

SIZES = (1, 3)
BACKEND = "aot_eager"  # traces everything and generates no code: seconds, not minutes


def compiles(subject: Subject) -> Verdict:
    """Whether `torch.compile(fullgraph=True)` gives the same, and `opcheck` holds.

    The backend is `aot_eager`: graph, fakes and gradients are traced, no code is generated.
    """
    for T in SIZES:
        sequences = subject.draw(B=2, T=T, seed=61, dtype=torch.float32)
        eager = subject.outputs(sequences)
        allowed = [e.allowance(torch.float32) for e in subject.entitled(sequences)]
        torch._dynamo.reset()
        try:
            with warnings.catch_warnings():  # a warning is no verdict
                warnings.simplefilter("ignore")
                compiled = torch.compile(subject.call, fullgraph=True, backend=BACKEND)
                found = leaves(clone(compiled(*clone(sequences))))
        except Exception as problem:
            return _broken(subject, f"cannot be compiled: {_first(problem)}", T)
        finally:
            torch._dynamo.reset()
        for place, error, _ in differences(found, eager, allowed):
            return _broken(subject, f"{place} differs by {error:.2g} once compiled", T)
        for operator, arguments in _operators(subject.call, sequences):
            try:
                torch.library.opcheck(operator, arguments)
            except Exception as problem:
                return _broken(subject, f"{operator} breaks its contract: {_first(problem)}", T)
    return subject.holds("compiles", f"whole graph, backend {BACKEND}, T in {SIZES}")


class _Listener(TorchDispatchMode):
    """Keeps the first call of every operator that is not torch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[Any, tuple[Any, ...]] = {}

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace not in ("aten", "prim", "prims"):
            self.heard.setdefault(func, clone(args))
        return func(*args, **(kwargs or {}))


def _operators(call: Callable[..., Any], sequences: Any) -> list[tuple[Any, tuple[Any, ...]]]:
    with torch.no_grad(), _Listener() as listener:
        call(*clone(sequences))
    return list(listener.heard.items())


def _broken(subject: Subject, what: str, T: int) -> Verdict:
    sentence = f"compile  {subject.name}  {what}  T={T}"
    return subject.verdict("compiles", "broken", "compile", sentence=sentence)


def _first(problem: Exception) -> str:
    """The type of an error and the first line of what it says."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return f"{type(problem).__name__}: {lines[0] if lines else 'no reason given'}"
