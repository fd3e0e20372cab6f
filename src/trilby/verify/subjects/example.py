"""The example of a call: which arguments are sequences, what goes along, and how to draw more."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...streaming import Carry
from ..copies.owning import Owning
from ..process import seed, undisturbed
from ..sizes import Setting
from .drawing import alike
from .following import Follower, Ledger, along, marks, repeated
from .layout import Layout
from .paths import Path, at, placed

KEPT = 64  # settings whose sequences are kept


@dataclass(frozen=True)
class Pad:
    """Padding that is said by a token: which sequence holds tokens, and the one that is a pad."""

    sequence: int
    token: int

    @property
    def other(self) -> int:
        """The token that stands where a pad was drawn and none is meant."""
        return int(self.token == 0)


class _Drawn:
    """The sequences of the latest settings. A copy of an example has them too: it is no tensor."""

    def __init__(self) -> None:
        self.latest: dict[Setting, tuple[Tensor, ...]] = {}


@dataclass(frozen=True)
class Example:
    """The arguments of one call, and the sequence that is picked from its result.

    Attributes:
        args, kwargs: what a call is given; the sequences in it are those of the example.
        paths: where the sequences stand among them.
        names: what the sequences are called.
        layouts: how each sequence lies in the call.
        pick: result -> the sequence that is judged, as the call returns it.
        drawer: a function (B, T, seed) that draws the arguments, or None.
        carry: how state is kept between calls; None: the user did not say.
        vocabulary: how many tokens there are.
        time: the axis of time in the call, and in its result.
        followers: the tensors that have a batch axis and no time.
        ledger: what goes along with the rows that the drawer made; None without a drawer.
        pad: the padding that is said by a token, or None.
        real: first sequence -> the mask of real positions, where a token says padding.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    paths: tuple[Path, ...]
    names: tuple[str, ...]
    layouts: tuple[Layout, ...]
    pick: Callable[[Any], Any]
    drawer: Callable[..., Any] | None = None
    carry: Carry | None = None
    vocabulary: int | None = None
    time: int = 1
    followers: tuple[Follower, ...] = ()
    ledger: Ledger | None = None
    pad: Pad | None = None
    real: Callable[[Tensor], Tensor] | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # keywords of one probe
    drawn: _Drawn = field(default_factory=_Drawn)

    def sequence(self, i: int) -> Tensor:
        """Sequence i of the example, `[B, T, ...]`."""
        x: Tensor = self.layouts[i].judged(self.value(self.paths[i]))
        return x

    def value(self, path: Path) -> Any:
        """The argument at a path."""
        return at((self.args, self.kwargs)[isinstance(path[0], str)], path)

    @property
    def slots(self) -> tuple[Any, ...]:
        """Where the sequences stand: an index of args, a key of kwargs, or a path inside."""
        return tuple(p[0] if len(p) == 1 else p for p in self.paths)

    @property
    def plain(self) -> bool:
        """Whether each sequence is an argument, and is a tensor of real numbers [B, T, ...]."""
        whole = all(len(path) == 1 for path in self.paths)
        return whole and all(layout == Layout() for layout in self.layouts)

    @property
    def numpy(self) -> bool:
        """Whether the call takes numpy arrays, through which no gradient goes."""
        return any(layout.numpy for layout in self.layouts)

    @property
    def size(self) -> tuple[int, int]:
        """B and T of the example."""
        B, T = self.sequence(0).shape[:2]
        return B, T

    def read(self, result: Any) -> Any:
        """The sequence `[B, T, ...]` that is picked from a result."""
        return Layout(self.time).judged(self.pick(result))

    def filled(self, sequences: tuple[Tensor, ...]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with these sequences; a keyword may be a function of the first one."""
        extra = {k: v(sequences[0]) if callable(v) else v for k, v in self.extra.items()}
        given = [(p, g) for p, (g, _) in zip(self.paths, self.tokens(sequences), strict=True)]
        args, kwargs = self._with([*given, *self._along(sequences)])
        return args, {**kwargs, **extra}

    def _with(self, pairs: list[tuple[Path, Any]]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with other values at some paths."""
        args, kwargs = list(self.args), dict(self.kwargs)
        for path, value in pairs:
            if isinstance(path[0], str):
                kwargs = placed(kwargs, path, value)
            else:
                args = placed(args, path, value)
        return args, kwargs

    def tokens(self, sequences: tuple[Tensor, ...]) -> list[tuple[Any, Layout]]:
        """Each sequence as the call is given it, pads written into it, and how it lies there."""
        own = [*sequences[: len(self.paths)]]
        if self.pad is not None and self.real is not None:
            i, real = self.pad.sequence, self.real(sequences[0])
            own[i] = own[i].masked_fill(~real, self.pad.token)
        return [(layout.given(x), layout) for x, layout in zip(own, self.layouts, strict=True)]

    def _along(self, sequences: tuple[Tensor, ...]) -> list[tuple[Path, Any]]:
        if not self.followers:
            return []
        own = [self.value(f.path) for f in self.followers]
        values = along(self.followers, own, self.ledger, sequences[-1])
        return [(f.path, v) for f, v in zip(self.followers, values, strict=True)]

    def settled(self, sequences: tuple[Tensor, ...]) -> tuple["Example", tuple[Tensor, ...]]:
        """The example with what goes along with these rows as fixed arguments, and no marks."""
        if not self.followers:
            return self, sequences
        args, kwargs = self._with(self._along(sequences))
        settled = self.anew(args=tuple(args), kwargs=kwargs, followers=())
        return settled, sequences[:-1]

    def anew(self, **fields: Any) -> "Example":
        """The same with other fields, and nothing drawn yet."""
        return replace(self, **fields, drawn=_Drawn())

    def with_keywords(self, **keywords: Any) -> "Example":
        """The same with more keywords, or others."""
        return replace(self, extra={**self.extra, **keywords})

    def draw(self, setting: Setting) -> tuple[Tensor, ...]:
        """Sequences of a size: values like those of the example, in the dtype of the setting.

        They are kept for a while and must not be written into. Where tensors follow the rows, the
        last one is the marks of the rows.
        """
        latest = self.drawn.latest
        if setting not in latest:
            if len(latest) >= KEPT:
                latest.clear()
            latest[setting] = self._drawn(setting)
        return latest[setting]

    def _drawn(self, setting: Setting) -> tuple[Tensor, ...]:
        made = self._from_drawer(setting) if self.drawer is not None else self._from_own(setting)
        drawn = [
            (x.double() * setting.scale).to(setting.dtype) if x.is_floating_point() else x
            for x in made
        ]
        if self.pad is not None:
            i = self.pad.sequence
            drawn[i] = drawn[i].masked_fill(drawn[i] == self.pad.token, self.pad.other)
        turned = [
            x if layout.time == 1 else layout.judged(layout.given(x))
            for x, layout in zip(drawn, self.layouts, strict=False)
        ]
        return (*turned, *drawn[len(turned) :])

    def _from_drawer(self, setting: Setting) -> list[Tensor]:
        assert self.drawer is not None
        with undisturbed():  # a function that ignores the seed draws other values all the same
            seed(setting.seed)
            given = arguments(self.drawer(setting.B, setting.T, setting.seed))
        made = replace(self, args=given[0], kwargs=given[1])
        drawn = [made.sequence(i) for i in range(len(self.paths))]
        if self.followers and self.ledger is not None:
            values = [torch.as_tensor(made.value(f.path)) for f in self.followers]
            rows = [*range(len(drawn[0]))]
            number = self.ledger.enter(values)
            drawn.append(marks(rows, drawn[0].shape[1], setting.seed, number))
        return drawn

    def _from_own(self, setting: Setting) -> list[Tensor]:
        rng = torch.Generator().manual_seed(setting.seed)
        own = [self.sequence(i) for i in range(len(self.paths))]
        lead = (setting.B, setting.T)
        drawn = [alike(x, (*lead, *x.shape[2:]), rng, self.vocabulary) for x in own]
        if self.followers:
            rows = repeated(setting.B, self.size[0], setting.seed)
            drawn.append(marks(rows, setting.T, setting.seed).to(drawn[0].device))
        return drawn


def arguments(made: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as positional arguments and keywords."""
    if isinstance(made, Mapping):
        return (), dict(made)
    if isinstance(made, tuple | list):
        return tuple(made), {}
    return (made,), {}


def signature(subject: Any) -> Mapping[str, inspect.Parameter]:
    """What a subject takes by name; empty if it cannot say."""
    if isinstance(subject, Owning):
        subject = subject.way
    way = subject.forward if isinstance(subject, nn.Module) else subject
    try:
        return inspect.signature(way).parameters
    except (TypeError, ValueError):
        return {}
