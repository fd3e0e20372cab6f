"""Law 6: in every dtype the error stays within what the function is entitled to."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..comparing.finding import Finding, compare, within
from ..copies.nested import clone, leaves
from ..precision.allowance import Entitled, entitled
from ..sizes import BLOCK, Setting
from ..subjects.subject import Leaves, Sequences, Subject

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHORT = 65  # up to here extreme magnitudes and states are judged as well
CHOICE = "chooses otherwise than in float64 where two numbers nearly tie"
STREAM = 600  # up to here streams of one position at a time, and gradients


def magnitudes(dtype: torch.dtype) -> tuple[float, float, float]:
    """Ordinary, near the largest number of a dtype, and near the least."""
    info = torch.finfo(dtype)
    return 1.0, info.max / 32, info.smallest_normal * 4


def sound(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """The error against the float64 twin, in one call and in a stream, forward and backward.

    Where the exact answer is beyond the dtype nothing is judged; elsewhere a result that is not
    finite is broken.
    """
    sequences = subject.draw(setting)
    states = subject.pasts(setting) if setting.T <= SHORT and subject.strict else [None]
    count = None if subject.strict else 1  # of anyone's module the state is its own affair
    for state in states:
        limits = subject.entitled(sequences, state)
        got = subject.leaves(sequences, state)[:count]
        yield _excused(_judged(got, limits, setting, "", count), subject, setting, ())
        for lengths, how in _streams(setting.T) if subject.streams else ():
            stream = clone(leaves(subject.joined(sequences, state, lengths)))[:count]
            found = _judged(stream, limits, setting, how, count)
            yield _excused(found, subject, setting, lengths)
    if setting.T <= STREAM and setting.scale == 1 and subject.strict:
        yield from _backward(subject, setting, sequences)


def _streams(T: int) -> list[tuple[tuple[int, ...], str]]:
    """A stream in blocks, and token by token where that is quick."""
    blocks = (*[BLOCK] * (T // BLOCK), *[T % BLOCK] * (T % BLOCK > 0))
    found = [(blocks, f" in a stream, {BLOCK} at a time")] if T > BLOCK else []
    return [*found, ((1,) * T, " in a stream, one at a time")] if 1 < T <= STREAM else found


def _excused(
    found: Finding, subject: Subject, setting: Setting, lengths: tuple[int, ...]
) -> Finding:
    """A finding again, with a twin that chooses as the module did where two numbers nearly tie."""
    if not found.broken or subject.strict:
        return found
    again = subject.choosing_alike(subject.draw(setting), lengths)
    if again is None:
        return found
    got, limits = again
    other = _judged(got[:1], limits, setting, "", 1)
    return found if other.broken else replace(other, note=CHOICE)


def _judged(
    got: Leaves, limits: dict[str, Entitled], setting: Setting, how: str, count: int | None = None
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
    allowed = within(limits, whole=count == 1)
    allow = lambda path, _w: allowed(path, torch.empty(0, dtype=dtypes[path]))
    name = str(setting.dtype).removeprefix("torch.")
    found = compare("unsound", seen, wanted, allow, f" (float64){how}, {name}")
    if found.broken and found.allowed and found.error < torch.inf:
        times = f", {found.ratio:.3g} times what {name} is entitled to"
        return replace(found, text=found.text + times)
    return replace(found, kind="not finite") if found.error == torch.inf else found


def _backward(subject: Subject, setting: Setting, sequences: Sequences) -> Iterator[Finding]:
    """The gradient to the sequences is itself a function, entitled to its own rounding.

    What comes from above has one sign, as that of a mean has: sums that stop growing show.
    """
    y = subject.run(sequences)[0]
    noise = torch.rand(y.shape, generator=torch.Generator().manual_seed(7)).to(y.dtype)  # >= 0
    way = _gradient(subject)
    limits = {e.path: e for e in entitled(way, (sequences, noise), {})}
    got = leaves(way(*clone((sequences, noise))))
    yield _judged(got, limits, setting, ", in the gradient")


def _gradient(subject: Subject) -> Callable[..., Any]:
    def gradient(sequences: Sequences, dy: Tensor) -> dict[str, Tensor]:
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_(x.is_floating_point()) for x in sequences]
            y, _ = subject.call(tuple(inputs), None)
            named = [(n, x) for n, x in zip(subject.names, inputs, strict=False) if x.requires_grad]
            grads = torch.autograd.grad(y, [x for _, x in named], dy, allow_unused=True)
        return {
            f"gradient of {n}": g for (n, _), g in zip(named, grads, strict=True) if g is not None
        }

    return gradient
