"""Law 7: eager equals compiled, and every custom operator keeps the contract of operators."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..comparing.finding import Finding, NotRun, compare
from ..comparing.gradients import gradients_of
from ..copies.nested import clone, leaves
from ..reproducers.script import Script
from ..sizes import Setting
from ..subjects.mixer_form import MixerForm
from ..subjects.subject import Subject
from ..subjects.user_module import UserModule
from ..wording import joined_lines
from .law import Law
from .module_sizes import WIDE, own

BUILT_IN = ("aten", "prim", "prims", "profiler", "debugprims", "inductor")
Way = Callable[..., dict[str, Any]]


def compiles(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """`torch.compile` gives what eager gives, forward and backward; a form has no graph breaks.

    `torch.library.opcheck` holds for every operator outside of torch's own that the call reaches.
    """
    if setting.backend == "inductor":
        _generates_code()
    given = subject.draw(setting), subject.contract_states(setting)[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about itself
        eager, compiled = _both(subject), _both(subject, setting)
        yield from _operators(eager, given)  # first: a compiler may refuse what they got wrong
        found, wanted = compiled(*given), eager(*given)
        than = f", as it is in eager mode ({setting.backend})"
        allow = subject.compiled_allowance(setting, eager, given)
        yield compare("compiled differs", [*found.items()], [*wanted.items()], allow, than)


def _both(subject: Subject, compiled: Setting | None = None) -> Way:
    """The leaves of the result and the gradients to the sequences, as a function of copies.

    Compiled for the sizes that are given, or with mode "dynamic" for any. torch would decide that
    by what the process has compiled before, and a verdict must not depend on it.
    """

    def call(sequences: Any, state: Any) -> Any:
        return subject_call(sequences, state)

    subject_call = subject.call
    own = FunctionType(  # its own code object: what is compiled is cached by code object
        call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__
    )
    way: Callable[..., Any] = own
    if compiled is not None:
        way = torch.compile(
            own,
            fullgraph=subject.must_accept_every_call,
            backend=compiled.backend,
            dynamic=compiled.mode == "dynamic",
        )

    def both(sequences: Any, state: Any) -> Any:
        given, past = clone((sequences, state))
        subject.fresh()
        with torch.enable_grad():
            inputs = [x.requires_grad_(x.is_floating_point()) for x in given]
            result = way(tuple(inputs), past)
            floating = [(str(i), x) for i, x in enumerate(inputs) if x.requires_grad]
            owned = [(n, p) for n, p in subject.owned if p.requires_grad]
            outputs = [t for _, t in leaves(result) if isinstance(t, Tensor) and t.requires_grad]
            grads = _gradients(outputs, [*floating, *owned], [p for _, p in owned])
        named = dict(subject.compared(leaves(clone(result))))
        return named | {f"gradient {name}": g for name, g in grads.items() if g is not None}

    return both


def _gradients(
    outputs: list[Tensor], to: list[tuple[str, Tensor]], owned: list[Tensor]
) -> dict[str, Tensor | None]:
    """The gradients of the sum of all outputs, to sequences and parameters."""
    if not outputs or not to:
        return {}
    total = torch.stack([t.double().sum() for t in outputs]).sum()
    found = gradients_of(total, [t for _, t in to], owned, keep=False)
    return {name: g for (name, _), g in zip(to, found, strict=True)}


@cache
def _generates_code() -> None:
    """Raise NotRun where inductor cannot compile anything at all."""
    try:
        torch.compile(lambda x: x + 1, backend="inductor")(torch.ones(2))
    except Exception as error:
        reason = f"inductor generates no code here, it raises: {joined_lines(error)}"
        raise NotRun(reason) from error


class _Recorder(TorchDispatchMode):
    """The calls of operators that are not torch's own, the first of each."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[Any, tuple[Any, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace not in BUILT_IN:
            self.calls.setdefault(func, clone((args, kwargs or {})))
        return func(*args, **(kwargs or {}))


def _operators(eager: Way, given: tuple[Any, Any]) -> Iterator[Finding]:
    with _Recorder() as recorder:
        eager(*given)
    for operator, (args, kwargs) in recorder.calls.items():
        sample = tuple(
            a.requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a
            for a in args
        )
        try:
            torch.library.opcheck(operator, sample, kwargs)
        except Exception as error:
            text = f"opcheck: {joined_lines(error, 160)}"
            yield Finding("operator", True, torch.inf, 0.0, str(operator), text)
        yield Finding("operator")


def _backend(effort: str) -> str:
    return "inductor" if effort == "thorough" else "aot_eager"


def _mixer_settings(effort: str, form: MixerForm) -> list[Setting]:
    small = Setting(5, 2, 3, torch.float64, backend=_backend(effort))
    larger = Setting(form.traced, 2, 3, torch.float32, backend=_backend(effort), mode="dynamic")
    return [small] if effort == "quick" else [small, larger]


def _module_settings(effort: str, user: UserModule) -> list[Setting]:
    first = own(user)
    return [replace(s, backend=_backend(effort)) for s in (replace(first, dtype=WIDE), first)]


def _reproduce(script: Script) -> list[str]:
    """Eager and compiled."""
    compiled = f"torch.compile(f, backend={script.setting.backend!r})"
    return [
        f"a = {script.call()}",
        f"b = {script.call(f=compiled)}",
        "print((a - b).abs().max())  # rounding, if it compiles",
    ]


LAW = Law("compiles", compiles, _mixer_settings, _module_settings, _reproduce, grows=False)
