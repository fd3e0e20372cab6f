"""The example of a call: which arguments are sequences, what is picked, and how to draw more."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CallError
from ...shapes import what
from ...streaming import Carry
from ..copies.owning import Owning
from ..sizes import Setting

PICKED = ("logits", "last_hidden_state")
KEPT = 64  # settings whose sequences are kept
FEW = 16  # distinct values up to which they are taken for codes, and no new ones are made


class _Drawn:
    """The sequences of the latest settings. A copy of an example has them too: it is no tensor."""

    def __init__(self) -> None:
        self.latest: dict[Setting, tuple[Tensor, ...]] = {}


@dataclass(frozen=True)
class Example:
    """The arguments of one call, and the sequence that is picked from its result.

    Attributes:
        args, kwargs: what a call is given; the sequences in it are those of the example.
        slots: where the sequences stand: an index of args, or a key of kwargs.
        names: what the sequences are called.
        drawer: a function (B, T, seed) that draws them, or None.
        pick: result -> the tensor `[B, T, ...]` that is judged.
        carry: how state is kept between calls; None: the user did not say.
        vocabulary: how many tokens there are.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    slots: tuple[int | str, ...]
    names: tuple[str, ...]
    pick: Callable[[Any], Any]
    drawer: Callable[..., Any] | None = None
    carry: Carry | None = None
    vocabulary: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # keywords of one probe
    drawn: _Drawn = field(default_factory=_Drawn)

    def sequence(self, i: int) -> Tensor:
        """Sequence i of the example."""
        slot = self.slots[i]
        return self.args[slot] if isinstance(slot, int) else self.kwargs[slot]

    @property
    def size(self) -> tuple[int, int]:
        """B and T of the example."""
        B, T = self.sequence(0).shape[:2]
        return B, T

    def filled(self, sequences: tuple[Tensor, ...]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with these sequences; a keyword may be a function of the first one."""
        extra = {k: v(sequences[0]) if callable(v) else v for k, v in self.extra.items()}
        args, kwargs = list(self.args), {**self.kwargs, **extra}
        for slot, x in zip(self.slots, sequences, strict=True):
            if isinstance(slot, int):
                args[slot] = x
            else:
                kwargs[slot] = x
        return args, kwargs

    def with_keywords(self, **keywords: Any) -> "Example":
        """The same with more keywords, or others."""
        return replace(self, extra={**self.extra, **keywords})

    def draw(self, setting: Setting) -> tuple[Tensor, ...]:
        """Sequences of a size: values like those of the example, in the dtype of the setting.

        They are kept for a while and must not be written into.
        """
        latest = self.drawn.latest
        if setting not in latest:
            if len(latest) >= KEPT:
                latest.clear()
            latest[setting] = self._drawn(setting)
        return latest[setting]

    def _drawn(self, setting: Setting) -> tuple[Tensor, ...]:
        rng = torch.Generator().manual_seed(setting.seed)
        if self.drawer is not None:
            args, kwargs = arguments(self.drawer(setting.B, setting.T, setting.seed))
            drawn = [args[s] if isinstance(s, int) else kwargs[s] for s in self.slots]
        else:
            lead = (setting.B, setting.T)
            drawn = [self._like(self.sequence(i), lead, rng) for i in range(len(self.slots))]
        return tuple(
            (x.double() * setting.scale).to(setting.dtype) if x.is_floating_point() else x
            for x in drawn
        )

    def _like(self, x: Tensor, lead: tuple[int, int], rng: torch.Generator) -> Tensor:
        shape = (*lead, *x.shape[2:])
        if x.is_floating_point():
            return _resampled(x, shape, rng).to(x.device)
        if x.dtype == torch.bool:
            return torch.randint(0, 2, shape, generator=rng).bool().to(x.device)
        top = self.vocabulary or int(x.max()) + 1
        return torch.randint(0, max(top, 1), shape, generator=rng).to(x.dtype).to(x.device)


def read_example(
    subject: Any,
    given: Any,
    *,
    output: Any = None,
    carry: Carry | None = None,
    vocabulary: int | None = None,
    extra: tuple[str, ...] = (),
) -> Example:
    """Read an example: which arguments are sequences, and which come along as they are.

    The first tensor of rank 2 or more gives B and T, and each tensor that begins with these two
    axes is a sequence; one whose keyword stands in `extra` is not.

    Raises:
        CallError: no tensor with a batch and a time axis.
    """
    made = given(2, 16, 0) if _draws(given) else given
    args, kwargs = arguments(made)
    tensors: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    tensors = [(k, v) for k, v in tensors if isinstance(v, Tensor) and k not in extra]
    lead = next((v.shape[:2] for _, v in tensors if v.ndim >= 2), None)
    if lead is None:
        raise CallError(
            f"check: example is {what(made)} without a tensor [B, T, ...]; give the arguments of "
            "one call, e.g. torch.randn(2, 16, 8), or a function (B, T, seed) that draws them"
        )
    slots = tuple(k for k, v in tensors if v.shape[:2] == lead)
    names = tuple(_names(subject, len(args)).get(k, str(k)) for k in slots)
    drawer = given if _draws(given) else None
    fixed = {k: v for k, v in kwargs.items() if k not in extra}
    return Example(args, fixed, slots, names, _picker(output), drawer, carry, vocabulary)


def arguments(made: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as positional arguments and keywords."""
    if isinstance(made, Mapping):
        return (), dict(made)
    if isinstance(made, tuple | list):
        return tuple(made), {}
    return (made,), {}


def _draws(given: Any) -> bool:
    return callable(given) and not isinstance(given, Tensor | nn.Module)


def signature(subject: Any) -> Mapping[str, inspect.Parameter]:
    """What a subject takes by name; empty if it cannot say."""
    if isinstance(subject, Owning):
        subject = subject.way
    way = subject.forward if isinstance(subject, nn.Module) else subject
    try:
        return inspect.signature(way).parameters
    except (TypeError, ValueError):
        return {}


def _names(subject: Any, count: int) -> dict[int | str, str]:
    placed = [p.name for p in signature(subject).values() if p.kind in (p.POSITIONAL_OR_KEYWORD,
              p.POSITIONAL_ONLY)]  # fmt: skip
    letters = ["x"] if count == 1 else [f"x{i}" for i in range(count)]
    return {i: placed[i] if i < len(placed) else letters[i] for i in range(count)}


def _picker(output: Any) -> Callable[[Any], Any]:
    """The function that picks the sequence from a result."""
    if callable(output):
        return output
    if output is not None:
        return lambda result: _item(result, output)
    return _first


def _item(result: Any, key: Any) -> Any:
    if isinstance(key, str) and not isinstance(result, Mapping):
        return getattr(result, key)
    return result[key]


def _first(result: Any) -> Any:
    """The tensor itself, `logits`, `last_hidden_state`, or the first item that is there."""
    if isinstance(result, Tensor):
        return result
    for name in PICKED:
        found = result.get(name) if isinstance(result, Mapping) else getattr(result, name, None)
        if isinstance(found, Tensor):
            return found
    if isinstance(result, Mapping):
        return next((v for v in result.values() if isinstance(v, Tensor)), None)
    if is_dataclass(result) and not isinstance(result, type):
        values = [getattr(result, f.name) for f in fields(result)]
        return next((v for v in values if isinstance(v, Tensor)), None)
    if isinstance(result, tuple | list):
        return _first(result[0]) if len(result) else None
    return None


def _resampled(x: Tensor, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Values from the distribution of x, in float64: between its own, or of its own if few.

    A gate that is never positive stays so. Where all of x is one number, as in `torch.zeros`, it
    says nothing about its values, and they are normal.
    """
    known = x.detach().double().flatten().cpu()
    known = known[known.isfinite()].sort().values
    count = known.numel()
    if not count or known[0] == known[-1]:
        return torch.randn(shape, generator=rng, dtype=torch.float64)
    u = torch.rand(shape, generator=rng, dtype=torch.float64) * (count - 1)
    if known.unique().numel() <= FEW < count:
        return known[u.round().long()]
    low = u.floor().long().clamp(max=count - 2)
    return torch.lerp(known[low], known[low + 1], u - low)
