"""Law 6: in every dtype the error stays within what rounding of the inputs explains."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from math import lcm
from typing import Any

import torch
from torch import Tensor

from ..comparing.change import first
from ..comparing.finding import Finding, compare, within
from ..copies.nested import Leaves, alter, clone, held, leaves
from ..precision.allowance import Allowance
from ..precision.rounded_state import fine
from ..reproducers.script import Script
from ..sizes import BLOCK, Setting
from ..subjects.mixer_form import LONG, MixerForm
from ..subjects.subject import Sequences, Subject
from ..subjects.user_module import UserModule
from ..wording import short
from .backward import Named, pulled, taped, wanted
from .law import Law
from .module_sizes import HALF, at_lengths, own
from .module_sizes import short as short_length
from .resumes import beyond

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHORT = 65  # up to here extreme magnitudes and states are judged as well
CHOICE = "chooses otherwise than in float64 where two numbers nearly tie"
LADDER = tuple(2.0**k for k in range(-6, 16))  # scales of the sequences, to where scores explode
FULL = (1.0, 1 / 16, 16.0, 512.0)  # at these errors are judged, at the others what is not finite
ROOM = 64  # times the largest gradient of float64, within which steps on the way may be larger
LEAST = 2  # times what is allowed, up to which an error of a module is a note
OTHER = "a stream differs from one call in float64 already, which is the fault of another law"
COUNTED = 300  # positions that bfloat16 cannot count: 257 is 256 there
STREAM = 600  # up to here streams of one position at a time, and gradients


def magnitudes(dtype: torch.dtype) -> tuple[float, float, float]:
    """Ordinary, near the largest number of a dtype, and near the least."""
    info = torch.finfo(dtype)
    return 1.0, info.max / 32, info.smallest_normal * 4


def sound(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """The error against the float64 twin, in one call and in a stream, forward and backward.

    Where the exact answer is beyond the dtype nothing is judged; elsewhere a result that is not
    finite is broken. A state that is kept in a finer dtype than the sequences is judged by that
    dtype, and a recurrence may round its state to its dtype at every position.
    """
    if not subject.bit_for_bit and setting.scale not in FULL:
        yield _finite(subject, setting)
        return
    sequences = subject.draw(setting)
    for state in subject.contract_states(setting) if setting.T <= SHORT else [None]:
        limits = _Limits(subject, setting, sequences, state)
        got = subject.compared(subject.leaves(sequences, state))
        found = _excused(limits.judged(got, ""), subject, setting, ())
        yield borderline(found, limits, got)
        for lengths, how in _streams(subject, setting.T) if subject.streams else ():
            try:
                stream = subject.compared(clone(leaves(subject.joined(sequences, state, lengths))))
            except Exception as error:
                if not subject.is_limit(setting):
                    raise
                yield Finding("unsound", note=beyond(setting, error))
                break
            found = limits.judged(stream, how).at(pieces=lengths)
            found = _excused(found, subject, setting, lengths)
            if found.broken and _wrong_in_float64(subject, setting, lengths):
                yield Finding(found.kind, note=OTHER)
                break
            yield borderline(found, limits, stream)
    if setting.T <= STREAM and setting.scale == 1:
        if isinstance(subject, MixerForm):
            yield from _backward(subject, setting, sequences)
        else:
            yield from _finite_backward(subject, setting)


class _Limits:
    """The allowances of one call, and more of them where the state is rounded at every position."""

    def __init__(self, subject: Subject, setting: Setting, xs: Sequences, state: Any) -> None:
        self.subject, self.setting, self.given = subject, setting, (xs, state)
        self.plain = subject.allowances(xs, state)

    @cached_property
    def by_state(self) -> dict[str, Allowance] | None:
        """What rounding of the state does; it takes many calls, and is seldom needed."""
        return self.subject.state_allowances(*self.given)

    def judged(self, got: Leaves, how: str) -> Finding:
        """A result, by units of each leaf at first and by rounding of the state if that is few."""
        whole = not self.subject.bit_for_bit
        finer = {path for path, t in got if path.startswith("state") and self._finer(t)}
        none = lambda a: a if a.response is None else replace(a, response=0 * a.response)
        limits = {p: none(a) if p in finer else a for p, a in self.plain.items()}
        found = _judged(got, limits, self.setting, how, whole)
        if not found.broken or self.by_state is None:
            return found
        limits = {p: a.and_also(self.by_state.get(p)) for p, a in limits.items()}
        return _judged(got, limits, self.setting, how, whole)

    def ratio(self, got: Leaves) -> float:
        """The largest error of the outputs over what is allowed there."""
        y, limit = dict(got)["y"], self.plain["y"]
        error = (y.double() - limit.answer).abs()
        allowed = limit.allowed(y.dtype, whole=True).expand_as(error)
        ratio = torch.where(error == 0, 0.0, error / allowed)
        return float(ratio.nan_to_num(torch.inf, torch.inf).max()) if ratio.numel() else 0.0

    def _finer(self, t: Any) -> bool:
        """Whether a leaf is kept in a finer dtype than the sequences."""
        floating = isinstance(t, Tensor) and t.is_floating_point()
        return floating and not fine(self.setting.dtype, t.dtype)


def _wrong_in_float64(subject: Subject, setting: Setting, lengths: tuple[int, ...]) -> bool:
    """Whether pieces differ from one call in float64 already: that is for `resumes` to report."""
    if subject.state_is_contract:
        return False
    exact, wide = subject.exact(setting)
    sequences = exact.draw(wide)
    parts, whole = exact.joined(sequences, None, lengths)[0], exact.run(sequences)[0]
    return compare("", [("y", parts)], [("y", whole)], exact.logic).broken


def borderline(found: Finding, limits: _Limits, got: Leaves) -> Finding:
    """A note in place of an error of a module that is nowhere more than twice what is allowed.

    What an allowance is derived from are a few probes, so it is not exact to that. The note gives
    the same ratio of one call at shorter lengths: an error that grows with T is worth a look.
    """
    subject, setting = limits.subject, limits.setting
    if not found.broken or found.kind != "unsound" or subject.bit_for_bit:
        return found
    here = limits.ratio(got)
    if here > LEAST:
        return found
    shorter = [T for T in (2, 5, 9, 17, 33) if T < setting.T and subject.takes_length(T)]
    ratios = [f"{_ratio(subject, replace(setting, T=T)):.2g} at T={T}" for T in shorter]
    grown = ", ".join([*ratios, f"{here:.2g} at T={setting.T}"])
    note = f"{short(setting.dtype)}: the error over what is allowed is {grown}"
    return Finding(found.kind, note=note)


def _ratio(subject: Subject, setting: Setting) -> float:
    """The largest error of one call over what is allowed there."""
    sequences = subject.draw(setting)
    limits = _Limits(subject, setting, sequences, None)
    return limits.ratio(subject.compared(subject.leaves(sequences)))


def _streams(subject: Subject, T: int) -> list[tuple[tuple[int, ...], str]]:
    """A stream in blocks, and token by token where that is quick, as far as it takes them."""
    least = lcm(subject.multiple, subject.grid)
    if least > 1:
        several = T % least == 0 and least < T
        return [((least,) * (T // least), f" in a stream, {least} at a time")] if several else []
    blocks = (*[BLOCK] * (T // BLOCK), *[T % BLOCK] * (T % BLOCK > 0))
    found = [(blocks, f" in a stream, {BLOCK} at a time")] if T > BLOCK else []
    return [*found, ((1,) * T, " in a stream, one at a time")] if 1 < T <= STREAM else found


def _excused(
    found: Finding, subject: Subject, setting: Setting, lengths: tuple[int, ...]
) -> Finding:
    """The finding, judged again by a twin that makes the same choices where numbers nearly tie."""
    if not found.broken:
        return found
    again = subject.choosing_alike(subject.draw(setting), lengths)
    if again is None:
        return found
    got, limits = again
    other = _judged(got[:1], limits, setting, "", whole=True)
    return found if other.broken else replace(other, note=CHOICE)


def _judged(
    got: Leaves, limits: dict[str, Allowance], setting: Setting, how: str, whole: bool = False
) -> Finding:
    wanted, seen = [], []
    for path, t in got:
        answer = limits[path].answer if path in limits else t
        if isinstance(t, Tensor) and t.is_floating_point() and isinstance(answer, Tensor):
            beyond = answer.abs() > torch.finfo(t.dtype).max
            t = torch.where(beyond, torch.zeros_like(t), t) if t.shape == answer.shape else t
            answer = torch.where(beyond, 0.0, answer)
            t, answer = t.double(), answer.double()
        seen.append((path, t))
        wanted.append((path, answer))
    dtypes = {path: t.dtype for path, t in got if isinstance(t, Tensor)}
    allowed = within(limits, whole=whole)
    allow = lambda path, _w: allowed(path, torch.empty(0, dtype=dtypes[path]))
    name = short(setting.dtype)
    found = compare("unsound", seen, wanted, allow, f" (float64){how}, {name}")
    if found.broken and found.allowed and found.error < torch.inf:
        times = f", {found.ratio:.3g} times what {name} allows"
        return replace(found, text=found.text + times)
    return replace(found, kind="not finite") if found.error == torch.inf else found


def _finite(subject: Subject, setting: Setting) -> Finding:
    """The result is finite where it is in float64, and not beyond the dtype there."""
    exact, wide = subject.exact(replace(setting, literal=False))
    y, right = subject.run(subject.draw(setting))[0], exact.run(exact.draw(wide))[0]
    if not isinstance(y, Tensor) or not y.is_floating_point() or y.shape != right.shape:
        return Finding("not finite")
    spoiled = ~y.isfinite() & (right.abs() <= torch.finfo(y.dtype).max / 2)
    if not bool(spoiled.any()):
        return Finding("not finite")
    index = first(spoiled)
    at = tuple(index)
    text = f"is {float(y[at]):g}, not {float(right[at]):.6g} (float64), {short(setting.dtype)}"
    found = Finding("not finite", True, torch.inf, 0.0, f"y{index}", text)
    return found.at(row=index[0], position=index[1])


def _finite_backward(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Each gradient of a module is finite where it is in float64, and not beyond the dtype there.

    To sequences and parameters. How large its error may be is not judged.
    """
    exact, wide = subject.recorded(replace(setting, dtype=torch.float64))
    if wide.dtype != torch.float64:
        return
    with suppress(RuntimeError, NotImplementedError):  # `differentiates` reports what it raises
        (got, named), (right, _) = _pulled(subject, setting), _pulled(exact, wide)
        top = torch.finfo(setting.dtype).max / ROOM
        for (name, _), g, r in zip(named, got, right, strict=False):
            if g.shape == r.shape and bool((~g.isfinite() & (r.abs() <= top)).any()):
                place = f"the gradient to {name}"
                text = f"is not finite, as it is in float64 ({short(setting.dtype)})"
                yield Finding("not finite", True, torch.inf, 0.0, place, text)
                return
        yield Finding("not finite")


def _pulled(subject: Subject, setting: Setting) -> tuple[list[Tensor], Named]:
    """The gradients of a weighted sum of the result, to all that has one."""
    y, named = taped(subject, subject.draw(setting))
    if not isinstance(y, Tensor) or not named:
        return [], []
    every = wanted(subject, named)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return pulled(subject, y * weights.to(y.dtype).to(y.device), [x for _, x in every]), every


def _backward(form: MixerForm, setting: Setting, sequences: Sequences) -> Iterator[Finding]:
    """The gradient to the sequences is itself a function, with allowances of its own.

    What comes from above has one sign, as that of a mean has: sums that stop growing show.
    """
    y = form.run(sequences)[0]
    noise = torch.rand(y.shape, generator=torch.Generator().manual_seed(7)).to(y.dtype)  # >= 0
    got = leaves(_backwards(form)(*clone((sequences, noise))))
    limits = form.allowances(sequences, noise, of=_backwards)
    yield _judged(got, limits, setting, ", in the gradient")


def _backwards(form: MixerForm) -> Callable[..., dict[str, Tensor]]:
    """Sequences and what comes from above -> the gradients of the form."""
    return partial(_gradient, form.call, form.names, [name for name, _ in form.owned])


def _gradient(
    call: Callable[..., Any], names: Sequence[str], owned: Sequence[str], xs: Sequences, dy: Tensor
) -> dict[str, Tensor]:
    """The gradients to the sequences, and to the parameters that `call` holds."""
    with torch.enable_grad():
        call = alter(call, lambda t: t.clone().requires_grad_())
        inputs = [x.detach().requires_grad_(x.is_floating_point()) for x in xs]
        y, _ = call(tuple(inputs), None)
        named = zip([*names, *owned], [*inputs, *held(call)], strict=False)
        known = [(n, x) for n, x in named if x.requires_grad]
        grads = torch.autograd.grad(y, [x for _, x in known], dy, allow_unused=True)
    pairs = zip(known, grads, strict=True)
    return {f"gradient of {n}": g for (n, _), g in pairs if g is not None}


def _mixer_settings(effort: str, form: MixerForm) -> list[Setting]:
    wanted = {"quick": (1, 8, 65, STREAM), "default": (1, 2, 8, 65, STREAM, form.longest)}
    found = []
    for T in wanted.get(effort, (1, 2, 3, 8, 65, STREAM, LONG, form.longest)):
        for dtype in (HALF,) if effort == "quick" and T > SHORT else DTYPES:
            scales = magnitudes(dtype) if T <= SHORT else (1.0,)
            rows = 2 if T <= SHORT else 1
            found += [Setting(T, rows, 2, dtype, scale=scale) for scale in scales]
    return found


def _module_settings(effort: str, user: UserModule) -> list[Setting]:
    lengths = {"quick": (66,), "default": (9, 66)}.get(effort, (1, 5, 9, 66, 130))
    known = [n for n in lengths if n in user.lengths] or [own(user).T]
    scales = (1.0,) if effort == "quick" else (1.0, 16.0, 1 / 16)
    floating = any(
        user.example.sequence(i).is_floating_point() for i in range(len(user.example.slots))
    )
    found = [
        replace(own(user), T=n, dtype=dtype, scale=scale)
        for n in known for dtype in DTYPES for scale in (scales if floating else scales[:1])
    ]  # fmt: skip
    if floating:
        first = replace(own(user), T=short_length(user)[0])
        dtype = first.dtype if first.dtype in DTYPES else torch.float32
        found += [replace(first, dtype=dtype, scale=s) for s in LADDER]
    return found if effort == "quick" else found + at_lengths(user, (COUNTED,), dtype=HALF, B=1)


def _reproduce(script: Script) -> list[str]:
    """Beside its float64 twin."""
    x, scale = script.names[0], script.setting.scale
    wide = "__import__('copy').deepcopy(f).double()" if script.module else "f"
    exact = script.call(".double()" if script.floating(0) else "", f="g")
    return [
        *([f"{x} = {x} * {scale:g}"] if scale != 1 else []),
        f"g = {wide}",
        f"a, b = {script.call()}, {exact}",
        "print((a.double() - b).abs().max(), b.abs().max())  # the error, and the size",
    ]


LAW = Law("sound", sound, _mixer_settings, _module_settings, _reproduce)
