"""The arguments of an exhibit's call: which are sequences, and which go with the rows."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from trilby.gallery import Exhibit


@dataclass(frozen=True)
class Given:
    """Arguments of a call; tensors [B, T, ...] are sequences, those of `along` go with the rows."""

    args: tuple[Any, ...]
    keywords: dict[str, Any]
    along: dict[str, Tensor] = field(default_factory=dict)

    def each(self, change: Callable[[Tensor], Any]) -> "Given":
        """The same with every tensor changed."""
        able = lambda t: change(t) if isinstance(t, Tensor) else t
        args, keywords = map(able, self.args), {k: able(t) for k, t in self.keywords.items()}
        return Given(tuple(args), keywords, self.along)

    def every(self, change: Callable[[Tensor], Tensor]) -> "Given":
        """The same with every tensor changed, also those that go with the rows."""
        return replace(self.each(change), along={k: change(t) for k, t in self.along.items()})

    @property
    def named(self) -> dict[str, Any]:
        """All keywords of the call."""
        return self.keywords | self.along

    def tensors(self) -> list[Tensor]:
        """All tensors, in order."""
        return [t for t in (*self.args, *self.keywords.values()) if isinstance(t, Tensor)]

    def to(self, dtype: torch.dtype) -> "Given":
        """Floating tensors in another dtype."""
        return self.every(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def cut(self, start: int, stop: int) -> "Given":
        """Some positions."""
        return self.each(lambda t: t[:, start:stop])

    def rows(self, start: int, stop: int) -> "Given":
        """Some rows of the batch."""
        return self.every(lambda t: t[start:stop])

    def redrawn(self, rows: slice, spots: slice, seed: int, size: float = 1.0) -> "Given":
        """Other values at some places, from among those that there are."""
        draw = torch.Generator().manual_seed(seed)

        def again(t: Tensor) -> Tensor:
            other = t.flatten()[torch.randint(t.numel(), t.shape, generator=draw)]
            mixed = t.clone()
            mixed[rows, spots] = other[rows, spots] * (size if t.is_floating_point() else 1)
            return mixed

        whole = spots == slice(None)
        return self.every(again) if whole else self.each(again)


def given(exhibit: Exhibit) -> Given:
    """What its label says it is called with."""
    drawn = exhibit.example()
    if isinstance(drawn, dict):
        fixed = exhibit.how.get("fixed", ())
        along = {name: t for name, t in drawn.items() if name in fixed}
        return Given((), {k: t for k, t in drawn.items() if k not in along}, along)
    return Given(drawn if isinstance(drawn, tuple) else (drawn,), {})
