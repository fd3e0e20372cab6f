"""The forms of a mixer, timed in turn beside a copy of x and, for one sequence, `cumsum / n`."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..card import Mixer
from ..env import machine
from ..errors import FormError, TrilbyError
from .clock import Way, interleaved
from .proof import prove
from .results import COPIES, COPY, CUMSUM, Results

PATIENCE = 1.0  # seconds that a call of a form may take if it is not asked for by name
FIRST = 64  # positions at which a form is tried first


def mixer(
    mixer: Mixer[..., Any],
    *,
    B: int = 4,
    T: int = 2048,
    C: int = 512,
    dtype: torch.dtype = torch.float32,
    forms: Sequence[str] | None = None,
    backward: bool = False,
    rounds: int = 9,
    seed: int = 0,
) -> Results:
    """Check the forms of a mixer on the same inputs, then time them.

    Args:
        mixer: the mixer.
        B, T, C: sizes for `mixer.drawn`: C is every size of its sequences.
        dtype: of the arguments, which are drawn.
        forms: only these, however long they take. None: every form, except that a form whose call
            would take longer than a second is left out, with that reason.
        backward: time forward and backward, and check the gradients too.
        rounds: how many rounds are timed.
        seed: of the arguments.

    Returns:
        Results; they are false if a form was not timed because a check of it failed.

    Raises:
        FormError: a form that the mixer does not have.

    >>> import trilby
    >>> found = mixer(trilby.mean, B=1, T=8, C=2, forms=["scan", "step"], rounds=1)
    >>> bool(found), found.timings.rounds, list(found.timings.seconds)
    (True, 1, ['y.copy_(x)', 'cumsum(x, 1) / n', 'scan', 'step'])
    """
    names = list(mixer.forms) if forms is None else _known(mixer, forms)
    arguments = mixer.drawn(B=B, T=T, C=C, seed=seed, dtype=dtype)
    x = arguments[0]
    dy = _like(_values(mixer, arguments), seed + 1) if backward else None
    ways, verdicts, left_out = _limits(x, dy, alone=len(arguments) == 1), {}, {}
    for name in names:
        why = None if forms is not None else _too_costly(mixer, name, arguments, dy)
        if why is None:
            verdicts[name] = prove(mixer, name, arguments, dy=dy)
            why = next((f"refused {v}" for v in verdicts[name] if not v), None)
        if why is None:
            ways[name] = call(mixer.forms[name], arguments, dy)
        else:
            left_out[name] = why
    timings = interleaved(ways, rounds=rounds)
    return Results(
        mixer.name,
        list(x.shape),
        str(dtype).removeprefix("torch."),
        backward,
        timings,
        verdicts,
        left_out,
        machine(),
    )


def call(form: Callable[..., Any], arguments: tuple[Any, ...], dy: Tensor | None) -> Way:
    """One call of a form, and its backward pass if dy is given."""
    if dy is None:
        return lambda: form(*arguments)
    own = [a.detach().requires_grad_() if _real(a) else a for a in arguments]
    leaves = [a for a in own if _real(a)]
    return lambda: torch.autograd.grad(form(*own)[0], leaves, dy)


def _limits(x: Tensor, dy: Tensor | None, *, alone: bool) -> dict[str, Way]:
    """The copy of x, and `cumsum / n` for a mixer that takes x alone.

    With dy, `cumsum / n` has a backward pass too, and the copy is made twice.
    """
    y, n = torch.empty_like(x), torch.arange(1, x.shape[1] + 1, device=x.device)
    n = n.to(x.dtype).reshape(-1, *[1] * (x.ndim - 2))

    def copy() -> None:
        for _ in range(1 if dy is None else 2):
            y.copy_(x)

    found: dict[str, Way] = {COPY if dy is None else COPIES: copy}
    if alone:
        found[CUMSUM] = call(lambda x: (torch.cumsum(x, 1) / n, None), (x,), dy)
    return found


def _too_costly(
    mixer: Mixer[..., Any], name: str, arguments: tuple[Any, ...], dy: Tensor | None
) -> str | None:
    """Double the length until it is reached, and stop if the next length would take too long.

    Twice the length is assumed to take four times as long, until the times say otherwise.
    """
    T, t, before = arguments[0].shape[1], FIRST, None
    while t < T:
        part = tuple(
            a[:, :t] if name in mixer.contract.sequences else a
            for name, a in mixer.contract.named(arguments).items()
        )
        try:
            way = call(mixer.forms[name], part, None if dy is None else dy[:, :t])
            seconds = min(_once(way), _once(way))
        except TrilbyError as problem:
            return f"it does not run here: {problem}"
        growth = min(4.0, max(1.0, seconds / before)) if before and before > 1e-3 else 4.0
        left = T / t
        expected = seconds * (growth if left >= 2 else left**2)
        if expected > PATIENCE:
            return f"{seconds:.2f} s at T = {t}, {T} positions would take more than {PATIENCE:g} s"
        t, before = 2 * t, seconds
    return None


def _once(way: Way) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


def _known(mixer: Mixer[..., Any], forms: Sequence[str]) -> list[str]:
    for name in forms:
        if name not in mixer.forms:
            why = mixer.absent.get(name, f"take one of {' '.join(mixer.forms)}")
            raise FormError(f"bench.mixer: {mixer.name} has no form {name!r}: {why}")
    return list(forms)


def _values(mixer: Mixer[..., Any], arguments: tuple[Any, ...]) -> Tensor:
    """The argument that has the shape of y."""
    values: Tensor = mixer.contract.named(arguments)[mixer.contract.values]
    return values


def _like(x: Tensor, seed: int) -> Tensor:
    """Random numbers in the shape and dtype of x."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(x.shape, generator=rng, dtype=torch.float32).to(x.dtype)


def _real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
