"""What is known of a run of `trilby mix` before values are read: shapes, block size, form."""

import inspect
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..card import Mixer
from ..errors import FileError, TrilbyError
from ..files import IDS, Bundle, Layout

_HEAVY = ("loop", "matrix", "softmax", "step")
_HEAVY_STEPS = 1024
"""Forms whose memory or time grows faster than the block; their default block is short."""

_STATES = 64 << 20
"""About how many bytes the states of all positions of a block may take, in the form `scan`."""

_FEW = 200_000
"""So many numbers of states are computed by `scan`, before `fused` is worth the time (a second or
more) that it takes to load the compiler.
"""


class Plan(NamedTuple):
    """What is known of a run before the values of a file are read.

    Attributes:
        layout: of the result.
        size: of every letter of the contract.
        blank: a state of zeros.
        parameters: of the mixer, by name.
        step: how many numbers the state of one row holds.
        steps: the default number of positions in a block.
    """

    layout: Layout
    size: dict[str, int]
    blank: Any
    parameters: dict[str, Any]
    step: int
    steps: int


def planned(
    card: Mixer[..., Any], bundle: Bundle, parameters: Mapping[str, Any], form: str | None
) -> Plan:
    """Check a call without its values, and plan it.

    Raises:
        FileError: what is wrong with the shapes, the dtypes or the parameters.
    """
    shapes: dict[str, Any] = {
        name: torch.empty(bundle.shape(name), dtype=dtype_of(source.layout.dtype), device="meta")
        for name, source in bundle.sources.items()
    }
    first = next(iter(shapes.values()))
    try:
        given = {
            name: torch.tensor(value, dtype=first.dtype) if isinstance(value, list) else value
            for name, value in parameters.items()
        }
        size = _checked(card, shapes, given)
        if given:
            _tried(card, shapes, given)
    except (TrilbyError, ValueError) as error:
        raise FileError(f"{bundle.name}: {error}") from error
    contract = card.contract
    blank = contract.state.blank(torch.zeros((), dtype=first.dtype), size)
    layout = bundle.first.layout
    if len(bundle.sources) > 1:
        axes = contract.arguments[contract.values].axes or ()
        shape = tuple(size[letter] for letter in axes)
        layout = Layout(shape, str(first.dtype).removeprefix("torch."))
    parts = contract.state.tensors(blank).values()
    step = sum(prod(t.shape[1:]) for t in parts)
    width = sum(prod(t.shape[1:]) * t.element_size() for t in parts)
    return Plan(layout, size, blank, given, step, _steps(form, bundle, width))


def few(card: Mixer[..., Any], plan: Plan, done: int, given: Mapping[str, Any]) -> str | None:
    """The form of a block if none is asked for: `scan` as long as there is little to compute.

    Args:
        card: the mixer.
        plan: of the run.
        done: how many positions there were before, over all rows.
        given: the arguments of the block.
    """
    B, T = next(iter(given.values())).shape[:2]
    if (done + B * T) * plan.step > _FEW or "scan" not in card.forms:
        return None
    return "scan" if card.best(**given) == "fused" else None


def dtype_of(name: str) -> torch.dtype:
    """The dtype of that name."""
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


def _checked(
    card: Mixer[..., Any], shapes: Mapping[str, Any], parameters: Mapping[str, Any]
) -> dict[str, int]:
    """Check tensors without values against the contract; return the size of every letter.

    Calling the mixer on them would check them as well, but torch imports its compiler for that.
    """
    on_meta = {n: v.to("meta") if isinstance(v, Tensor) else v for n, v in parameters.items()}
    where = f"{card.name}.{card.best(**shapes, **on_meta)}"
    bound = inspect.signature(card).bind(**shapes, **on_meta)
    bound.apply_defaults()
    given = tuple(bound.arguments[name] for name in card.contract.arguments)
    return card.contract.start(where, given, None, shapes.get(IDS), expanded=True)[2]


def _tried(card: Mixer[..., Any], shapes: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Call the definition on one position of zeros: it checks the values of the parameters."""
    zeros = {
        name: torch.zeros((), dtype=t.dtype).expand(t.shape[0], min(1, t.shape[1]), *t.shape[2:])
        for name, t in shapes.items()
    }
    card(**zeros, **parameters, form="loop")


def _steps(form: str | None, bundle: Bundle, width: int) -> int:
    """The default number of positions in a block, for states of so many bytes per row."""
    steps = bundle.steps()
    if form in _HEAVY:
        return min(steps, _HEAVY_STEPS)
    if form == "scan":
        return max(1, min(steps, _STATES // max(1, width)))
    return steps
