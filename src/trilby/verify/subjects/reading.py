"""Read an example: which arguments are sequences, and which go along with the rows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...errors import CallError
from ...shapes import what
from ...streaming import Carry
from ..wording import label
from .example import Example, Pad, arguments, signature
from .following import Follower, Ledger, ways
from .layout import Layout
from .paths import Path, arrays, named
from .picking import picker

SMALL, LARGE = (2, 16), (3, 32)  # B and T at which a function is asked for an example


@dataclass(frozen=True)
class Asked:
    """What the user said about the arguments.

    Attributes:
        output: what picks the sequence from the result.
        carry: how state is kept between calls.
        vocabulary: how many tokens there are.
        padding: the keyword of a mask, the token that is a pad, or None.
        documents: the keyword of packed documents, or None.
        time_axis: the axis of time in the call.
        fixed: arguments that are no sequences.
        lookahead: how many later positions an output may read.
    """

    output: Any = None
    carry: Carry | None = None
    vocabulary: int | None = None
    padding: str | int | None = None
    documents: str | None = None
    time_axis: int = 1
    fixed: Iterable[str | int] | str | int = ()
    lookahead: int = 0

    @property
    def masks(self) -> tuple[str, ...]:
        """The keywords that a law writes."""
        return tuple(k for k in (self.padding, self.documents) if isinstance(k, str) and k)


@dataclass(frozen=True)
class _One:
    """One tensor of an example."""

    path: Path
    name: str
    value: Any
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape with the batch on axis 0 and time on axis 1; of rank 0 or 1 its own."""
        return tuple(self.layout.judged(self.value).shape)

    @property
    def long(self) -> bool:
        """Whether it has two axes."""
        return self.value.ndim >= 2


def read_example(subject: Any, given: Any, asked: Asked) -> list[Example]:
    """The example, read in each way that it can be: which tensors follow the rows, likeliest first.

    The first tensor of rank 2 or more gives B and T, and each tensor that begins with these two
    axes is a sequence; one whose keyword is a mask is not, nor one that is said to be fixed. What a
    function draws is looked at in two sizes.

    Raises:
        CallError: no tensor with a batch and a time axis; `fixed` names no argument.
    """
    made = given(*SMALL, 0) if draws(given) else given
    args, kwargs = arguments(made)
    tensors = [*_tensors(subject, (args, kwargs), asked)]
    fixed = _fixed(subject, (args, kwargs), tensors, asked)
    larger = _larger(subject, given, asked) if draws(given) else {}
    able = [t for t in tensors if not _inside(t.path, fixed) and t.long]
    growing = [t for t in able if _grows(t, larger)] or able
    if not growing:
        raise CallError(
            f"check: example is {what(made)} without a tensor [B, T, ...]; give the arguments of "
            "one call, e.g. torch.randn(2, 16, 8), or a function (B, T, seed) that draws them"
        )
    first = growing[0]
    _fits(first, larger, asked.time_axis)
    sequences = [t for t in growing if t.shape[:2] == first.shape[:2]]
    rest = [t for t in tensors if t not in sequences]
    own = Example(
        args, {k: v for k, v in kwargs.items() if k not in asked.masks},
        tuple(t.path for t in sequences), tuple(t.name for t in sequences),
        tuple(t.layout for t in sequences), picker(asked.output),
        given if draws(given) else None, asked.carry, asked.vocabulary, asked.time_axis,
        pad=_pad(sequences, asked),
    )  # fmt: skip
    return [*_with_followers(own, first, rest, larger)]


def _with_followers(
    own: Example, first: _One, rest: list[_One], larger: dict[Path, _One]
) -> Iterator[Example]:
    """The example with the tensors that follow the rows; in several ways where sizes allow it."""
    if first.path in larger:
        B, more = first.shape[0], larger[first.path].shape[0]
        found = []
        for t in rest:
            shape = larger[t.path].value.shape if t.path in larger else ()
            axes = [a for a, (m, n) in enumerate(zip(t.value.shape, shape, strict=False))
                    if (m, n) == (B, more)]  # fmt: skip
            found += [
                Follower(t.path, a, t.name, not isinstance(t.value, Tensor)) for a in axes[:1]
            ]
        yield own.anew(followers=tuple(found), ledger=Ledger() if found else None)
        return
    candidates = [(t.path, t.name, t.value) for t in rest]
    for way in ways(candidates, first.shape[0], own.time == 0):
        yield own.anew(followers=way, ledger=Ledger() if own.drawer and way else None)


def _tensors(subject: Any, call: tuple[Any, dict[str, Any]], asked: Asked) -> Iterator[_One]:
    args, kwargs = call
    tops = _names(subject, len(args))
    for path, value in [*arrays(args), *arrays(kwargs)]:
        if path[0] not in asked.masks:
            name = named(path, tops.get(path[0], str(path[0])))
            yield _One(path, name, value, Layout.of(value, asked.time_axis))


def _larger(subject: Any, given: Callable[..., Any], asked: Asked) -> dict[Path, _One]:
    """What the user's function draws in another size; empty if it draws no other."""
    try:
        return {t.path: t for t in _tensors(subject, arguments(given(*LARGE, 0)), asked)}
    except Exception:
        return {}


def _grows(t: _One, larger: dict[Path, _One]) -> bool:
    """Whether it has another B and another T where another size was drawn."""
    if t.path not in larger or not larger[t.path].long:
        return False
    return all(m != n for m, n in zip(t.shape[:2], larger[t.path].shape[:2], strict=True))


def _fits(t: _One, larger: dict[Path, _One], axis: int) -> None:
    """Raise a CallError where time is on an axis that is none, or that does not grow with T."""
    rank = t.value.ndim
    if not -rank <= axis < max(rank, 3):
        raise CallError(
            f"check: time_axis is {axis}, but {t.name} has the axes 0 to {rank - 1}; choose one"
        )
    if t.path not in larger or t.shape[:2] == SMALL:
        return
    pairs = [*zip(t.value.shape, larger[t.path].value.shape, strict=False)]
    at = pairs.index((SMALL[1], LARGE[1])) if (SMALL[1], LARGE[1]) in pairs else 1
    if at != 1:
        raise CallError(
            f"check: {t.name} as the function draws it has T on axis {at}; if that is time, pass "
            f"time_axis={at}"
        )


def _fixed(
    subject: Any, call: tuple[Any, dict[str, Any]], tensors: list[_One], asked: Asked
) -> list[Path]:
    """The paths of the arguments that are said to be no sequences."""
    args, kwargs = call
    places = {name: i for i, name in _names(subject, len(args)).items()}
    several = (asked.fixed,) if isinstance(asked.fixed, str | int) else tuple(asked.fixed)
    found: list[Path] = []
    for name in several:
        inside = [t.path for t in tensors if t.name == name]
        if name in kwargs or (isinstance(name, int) and 0 <= name < len(args)):
            found.append((name,))
        elif name in places:
            found.append((places[str(name)],))
        elif inside:
            found += inside
        else:
            known = ", ".join([*places, *map(str, kwargs), *(t.name for t in tensors)])
            raise CallError(
                f"check: fixed names {name!r}, but the call of {label(subject)} has no such "
                f"argument among {', '.join(dict.fromkeys(known.split(', ')))}"
            )
    return found


def _inside(path: Path, several: list[Path]) -> bool:
    return any(path[: len(top)] == top for top in several)


def _pad(sequences: list[_One], asked: Asked) -> Pad | None:
    if not isinstance(asked.padding, int):
        return None
    for i, t in enumerate(sequences):
        x = t.layout.judged(t.value)
        if not x.is_floating_point() and x.dtype.is_signed:
            return Pad(i, asked.padding)
    raise CallError(
        f"check: padding is {asked.padding}, a token, but no sequence of the example holds tokens; "
        "name the keyword of a mask instead"
    )


def draws(given: Any) -> bool:
    """Whether an example is a function (B, T, seed) that draws the arguments."""
    return callable(given) and not isinstance(given, Tensor | nn.Module)


def _names(subject: Any, count: int) -> dict[int | str, str]:
    placed = [p.name for p in signature(subject).values() if p.kind in (p.POSITIONAL_OR_KEYWORD,
              p.POSITIONAL_ONLY)]  # fmt: skip
    letters = ["x"] if count == 1 else [f"x{i}" for i in range(count)]
    return {i: placed[i] if i < len(placed) else letters[i] for i in range(count)}
