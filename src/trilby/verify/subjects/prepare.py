"""Read what a user gave to `check`, and try it: which lengths, dtypes and masks a subject takes."""

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import torch
from torch import nn

from ...errors import CallError
from ...kernels.machine import team
from ...shapes import what
from ...streaming import Carry
from ..copies.independent import still_used
from ..copies.nested import convert
from ..copies.owning import owning
from ..copies.reached import modules_of
from ..process import include
from ..sizes import SPLIT, Setting
from ..wording import described, first_line, label
from .cpu_copy import cpu_copy
from .elsewhere import accepted_elsewhere
from .example import Example, signature
from .module_subject import ModuleSubject
from .reading import Asked, read_example
from .subject import all_real
from .user_module import UserModule, checked

SLOW = 0.25  # seconds of one call, after which no longer sequence is tried
TIMES = 5  # a call counts as slow if it is so each time: the first of a length may compile
LENGTHS = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 66, 130, 300)


def prepared(target: Any, example: Any, asked: Asked | None = None) -> UserModule:
    """Read a subject and its example, and try them.

    Raises:
        CallError: no subject, no example, a keyword of another kind, a module without values, or
            one that refuses its own example; the module's own error is quoted.
    """
    asked = asked or Asked()
    given, (target, name) = target, _subject(target)
    made = target is not given
    include(target)
    if example is None:
        raise CallError(f"check: example is missing; give the arguments of one call of {name}")
    _fitting(asked)
    target, example, moved = cpu_copy(target, example, name)
    target = owning(target, name)
    _present(target, name)
    read = read_example(target, example, asked)
    if asked.carry is not None and "()" in asked.carry.told and not read[0].plain:
        raise CallError(
            f"check: carry={asked.carry.told} hands over parts of sequences [B, T, ...], and those "
            f"of {name} lie otherwise; wrap its methods"
        )
    padding = asked.padding if isinstance(asked.padding, str) else None
    found = UserModule(
        name, target, read[0], padding, asked.documents, asked.lookahead, moved=moved
    )
    found.uncopied, found.factory = _why_uncopied(target), given if made else None
    _try(found, read)
    return found


def _fitting(asked: Asked) -> None:
    """Raise a CallError for a keyword of another kind."""
    if asked.carry is not None and not isinstance(asked.carry, Carry):
        raise CallError(
            f"check: carry is {what(asked.carry)}, expected e.g. by_state('state') of "
            "trilby.streaming"
        )
    if isinstance(asked.time_axis, bool) or not isinstance(asked.time_axis, int):
        raise CallError(
            f"check: time_axis is {asked.time_axis!r}, expected an axis, e.g. 2 for [B, C, T] or "
            "0 for [T, B, C]"
        )
    if type(asked.lookahead) is not int or asked.lookahead < 0:
        raise CallError(
            f"check: lookahead is {asked.lookahead!r}, expected how many later positions an output "
            "may read, 0 or more"
        )
    if isinstance(asked.padding, bool):
        raise CallError(
            f"check: padding is {asked.padding}, expected the keyword of a mask, or the token that "
            "is a pad"
        )


def _subject(target: Any) -> tuple[Any, str]:
    """The module or function itself; a class or factory is called."""
    if not callable(target):
        raise CallError(
            f"check: subject is {what(target)}, expected a mixer, a module, a function, or a "
            "factory that makes one"
        )
    name = label(target)
    if isinstance(target, type) or (inspect.isfunction(target) and not _takes(target)):
        try:
            made = target()
        except Exception as error:
            raise CallError(
                f"check: {name}() was to make the subject and raises {first_line(error)}"
            ) from error
        if not callable(made):
            raise CallError(f"check: {name}() makes {what(made)}, which cannot be called")
        return made, f"{type(made).__name__}.forward" if isinstance(made, nn.Module) else name
    return target, f"{name}.forward" if isinstance(target, nn.Module) else name


def _takes(function: Callable[..., Any]) -> bool:
    """Whether a function has parameters."""
    return bool(signature(function))


def _present(target: Any, name: str) -> None:
    for module in modules_of(target):
        for key, p in module.named_parameters():
            if p.device.type == "meta":
                raise CallError(
                    f"check: {name} has no values: parameter {key} is on meta; give it memory "
                    "first, e.g. module.to_empty(device='cpu') and its initialisation"
                )


def _why_uncopied(target: Any) -> str:
    """Why no copy can be made; empty if one can."""
    try:
        convert(target, torch.float32)
    except Exception as error:
        return " ".join(first_line(error).split())[:90]
    return ""


def _try(found: UserModule, read: list[Example]) -> None:
    """The example itself, then other lengths, dtypes and the mask: what the subject takes."""
    B, T = found.example.size
    try:
        subject = found.at(Setting(T, B, dtype=found.dtype))
    except CallError as error:
        raise CallError(f"{error}{accepted_elsewhere(found)}") from error.__cause__
    except Exception as error:
        call = f"{found.name}({_described(found)})"
        why = f"{call} raises {first_line(error)}{_hint(found)}{accepted_elsewhere(found)}"
        raise CallError(f"check: {found.name} refuses the example, {why}") from error
    if found.owned and (shared := _shared(found, subject)):
        found.depends_on(f"its copy still uses {shared} of the original")
        subject = found.at(Setting(T, B, dtype=found.dtype))
    if len(read) > 1:
        subject = _following(found, subject, read)
    found.lengths = tuple(sorted({T, *_lengths(found, subject)}))
    others = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    for dtype in others[:1] if found.large else others:
        if dtype.itemsize == 2 and any(layout.complex for layout in found.example.layouts):
            found.refused_dtypes[dtype] = "complex numbers of half precision are not tried"
        elif dtype != found.dtype:
            try:
                found.at(Setting(T, B, dtype=dtype))
            except Exception as error:
                found.refused_dtypes[dtype] = first_line(error)
    if found.padding is not None:
        _try_mask(found, subject)


def _following(found: UserModule, subject: ModuleSubject, read: list[Example]) -> ModuleSubject:
    """The subject with the arguments following the rows in the first way that it takes."""
    B, T = found.example.size
    setting = Setting(T, B + 1, dtype=found.dtype)
    for way in read:
        found.example = way
        found.forget()
        tried = found.at(Setting(T, B, dtype=found.dtype))
        if _refusal(found.name, tried, setting) is None:
            return tried
    found.example = read[0]
    found.forget()
    return subject


def _shared(found: UserModule, subject: ModuleSubject) -> str:
    """The tensor of the user's own module that its copy uses; empty if there is none."""
    B, T = found.example.size
    sequences = subject.draw(Setting(T, B, dtype=found.dtype))
    with suppress(Exception):  # what a mode of torch cannot see through
        return still_used(found.target, lambda: subject.run(sequences))
    return ""


def _described(found: UserModule) -> str:
    """The arguments of the call that is made first: `float32 [2, 16, 8]`, `mask=None`."""
    B, T = found.example.size
    args, kwargs = found.example.filled(found.example.draw(Setting(T, B, dtype=found.dtype)))
    return ", ".join([*map(described, args), *(f"{k}={described(v)}" for k, v in kwargs.items())])


def _hint(found: UserModule) -> str:
    """What may be wrong where tokens were drawn."""
    sequences = [found.example.sequence(i) for i in range(len(found.example.slots))]
    tokens = [x for x in sequences if not x.is_floating_point() and x.dtype != torch.bool]
    if not tokens or found.example.drawer is not None:
        return ""
    top = found.example.vocabulary or max(int(x.max()) + 1 for x in tokens)
    return f"; tokens 0 to {top - 1} were drawn, vocabulary= says how many there are"


def _lengths(found: UserModule, subject: ModuleSubject) -> Iterator[int]:
    """The lengths that it takes, up to where a call becomes slow."""
    B, T = found.example.size
    slow = ""
    for n in sorted({*LENGTHS, 2 * T}):
        if found.large and n > 2 * T:
            return
        if slow:
            found.left_out[n] = slow
            continue
        setting = Setting(n, B, dtype=found.dtype)
        problem, took = _timed(found.name, subject, setting)
        if took > SLOW:
            slow = f"left out, one call at T={n} takes {took:.1g} s"
        if problem is None:
            yield n
        else:
            found.refused_lengths[n] = problem


def _timed(name: str, subject: ModuleSubject, setting: Setting) -> tuple[str | None, float]:
    """What the subject says at a size, and the least time of a few calls where the first is slow.

    The first may compile, load or wait for another process. In one thread where that is faster,
    as laws are probed: two threads on a busy machine wait for each other far longer than they work.
    """
    least = float("inf")
    for _ in range(TIMES):
        with team.single() if setting.elements < SPLIT and not subject.large else nullcontext():
            began = time.perf_counter()
            problem = _refusal(name, subject, setting)
            least = min(least, time.perf_counter() - began)
        if least <= SLOW or problem is not None:
            break
    return problem, least


def _refusal(name: str, subject: ModuleSubject, setting: Setting) -> str | None:
    """What the subject says at a size; None: it takes it."""
    try:
        sequences = subject.draw(setting)
        checked(name, subject.run(sequences)[0], sequences)
    except Exception as error:
        return first_line(error)
    return None


def _try_mask(found: UserModule, subject: ModuleSubject) -> None:
    """The dtype in which the mask is taken: bool, else 0 and 1."""
    B, T = found.example.size
    problems = []
    for dtype in (torch.bool, torch.int64, torch.float32):
        found.mask = dtype
        masked = subject.padded(all_real)
        problem = _refusal(found.name, masked, Setting(T, B, dtype=found.dtype))
        if problem is None:
            return
        problems.append(problem)
    raise CallError(
        f"check: {found.name} refuses padding={found.padding!r}, a mask of ones: {problems[0]}"
    )
