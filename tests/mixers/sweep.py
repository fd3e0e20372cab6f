"""What every mixer is swept with: its forms, a state that some past left, layouts of x."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from trilby.card import Mixer
from trilby.mixers import MIXERS

FORMS = [
    pytest.param(mixer, form, id=f"{mixer.name}.{name}")
    for mixer in MIXERS.values()
    for name, form in mixer.forms.items()
]
EVERY = [pytest.param(mixer, id=mixer.name) for mixer in MIXERS.values()]
FUSED = [pytest.param(mixer, id=mixer.name) for mixer in MIXERS.values() if "fused" in mixer.forms]


def drawn(mixer: Mixer, *, B: int = 2, T: int = 5, C: int = 4, **how: Any) -> tuple[Tensor, ...]:
    """Arguments of a mixer with C for every size that is its own: channels, heads, keys."""
    return mixer.drawn(B=B, T=T, C=C, **({"dtype": torch.float64} | how))


def on_sequences(mixer: Mixer, given: Any, change: Callable[..., Any], *others: Any) -> list[Any]:
    """`change` of every sequence, with those of other argument tuples; parameters as they are."""
    names = mixer.contract.named(given)
    return [
        change(x, *rest) if name in mixer.contract.sequences else x
        for (name, x), *rest in zip(names.items(), *others, strict=True)
    ]


def sequences(mixer: Mixer, given: Any) -> list[Any]:
    """Those of some arguments, or of one value for each argument, that are sequences."""
    named = mixer.contract.named(given)
    return [named[name] for name in mixer.contract.sequences]


def past(mixer: Mixer, *, B: int = 2, C: int = 4, seed: int = 9, **how: Any) -> Any:
    """The state after three positions, computed by the definition."""
    return mixer.forms["loop"](*drawn(mixer, B=B, T=3, C=C, seed=seed, **how))[1]


def fields(state: Any) -> tuple[Tensor, ...]:
    """The tensors of a state, which may be one tensor."""
    return (state,) if isinstance(state, Tensor) else tuple(state)


def like(state: Any, tensors: Iterable[Tensor]) -> Any:
    """Other tensors as a state of the same kind."""
    return next(iter(tensors)) if isinstance(state, Tensor) else type(state)(*tensors)


def extended(mixer: Mixer, state: Any, other: Any) -> Any:
    """A state with zeros at the end of what grows, as long as another one."""
    parts = mixer.contract.state
    return parts.filled(parts.extended(parts.tensors(state), parts.tensors(other)))


def floats(state: Any) -> list[Tensor]:
    """The tensors of a state that have a gradient."""
    return [t for t in fields(state) if t.is_floating_point()]


def leaves_of(form: Callable[..., Any], arguments: Any, state: Any) -> tuple[Any, list[Tensor]]:
    """The form as a function of its floating tensors alone, state included, and those tensors."""
    n = len(arguments)

    def function(*leaves: Tensor) -> tuple[Tensor, ...]:
        given = iter(leaves[n:])
        whole = [next(given) if t.is_floating_point() else t for t in fields(state)]
        y, after = form(*leaves[:n], like(state, whole))
        return y, *floats(after)

    return function, [*arguments, *floats(state)]


def laid_out(x: Tensor, layout: str) -> Tensor:
    """The values of x in another layout; what lies between its elements is NaN."""
    if layout == "series":  # time varies fastest
        return x.transpose(1, 2).contiguous().transpose(1, 2)
    if layout == "turned":  # the batch varies fastest
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "stepped":
        room = x.new_full(
            [2 * x.shape[0], 3 * x.shape[1], *[2 * n for n in x.shape[2:]]], torch.nan
        )
        view = room[::2, 1::3][(..., *[slice(1, None, 2)] * (x.ndim - 2))]
        return view.copy_(x)
    if layout == "offset":
        return x.new_full([5 + x.numel()], torch.nan)[5:].view(x.shape).copy_(x)
    assert layout == "plain", layout
    return x.contiguous()


LAYOUTS = ("plain", "series", "turned", "stepped", "offset")


def stretched(x: Tensor, axis: int) -> Tensor:
    """The first slice of x along one axis, expanded to the size of x: stride 0."""
    return x.narrow(axis, 0, min(1, x.shape[axis])).expand(x.shape)
