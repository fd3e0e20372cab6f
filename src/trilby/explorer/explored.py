"""What `explore` returns: it prints itself, shows itself in a notebook, and saves itself."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor

from ..errors import CallError, NumberError
from ..shown.ansi import coloured, depth
from ..shown.lines import Line
from .exhibits import Fingerprint
from .packing import SMALL
from .page import frame, page
from .pictures import png
from .positions import Positions
from .saving import save
from .story import Step
from .summary import Clause, clauses
from .terminal import drawn, said, width
from .triangle import Subject, Triangle
from .widget import widget

SIDE = 160  # pixels of each triangle in a notebook that drops scripts


@dataclass(frozen=True, repr=False, eq=False)
class Explored:
    """The triangles of mixers and modules over one sequence.

    Attributes:
        subjects: what was given, in order.
        where: the positions.
        python: the call that makes it.
        t: the row that is written out; the last one unless `at` chose another.
        gallery: the modules of the gallery that read the future, if they were asked for.
        steps: of the story, if it was asked for.
    """

    subjects: tuple[Subject, ...]
    where: Positions
    python: str
    t: int
    gallery: tuple[Fingerprint, ...] = ()
    steps: tuple[Step, ...] = ()

    @cached_property
    def answer(self) -> list[Clause]:
        """The clauses of the head line, the worst first."""
        return clauses(self.subjects, self.where)

    @cached_property
    def triangles(self) -> list[Triangle]:
        """All of them, in order."""
        return [triangle for subject in self.subjects for triangle in subject.triangles]

    @property
    def ok(self) -> bool:
        """Whether nothing bad was found: no leak, no form that differs."""
        return all(clause.mark != "broken" for clause in self.answer)

    def row(
        self, t: int, *, layer: int | None = None, head: int | None = None
    ) -> dict[str, Tensor]:
        """What position t reads: name of the triangle -> [T] float64.

        Args:
            t: the position; -1 is the last one.
            layer, head: of a model, those alone; a channel of Mamba counts as a head.

        Raises:
            NumberError: there is no such position.
            CallError: no triangle that is shown has this layer and this head.

        >>> trilby.explore("mean", tokens="abcd").row(1)["mean"].tolist()
        [0.5, 0.5, 0.0, 0.0]
        """
        t = self._position("row", t)
        return {one.name: one.weights[t].clone() for one in self._of(layer, head)}

    def at(self, t: int) -> "Explored":
        """The same with row t chosen: `print` writes it out, and the page opens on it.

        >>> print(trilby.explore("mean", tokens="abcd").at(1))  # doctest: +ELLIPSIS
        mean
        ...
        mean: 1 'b' reads 0 'a' 0.5, 1 'b' 0.5; sum 1, effective length 2
        ...
        """
        return replace(self, t=self._position("at", t))

    def _of(self, layer: int | None, head: int | None) -> list[Triangle]:
        """The triangles of a layer and a head; all where neither is given."""
        if layer is None and head is None:
            return self.triangles
        found = [
            one
            for one in self.triangles
            if one.head is not None
            and layer in (None, one.head.layer)
            and head in (None, one.head.number)
        ]
        if not found:
            said = f"layer={layer}, head={head}"
            raise CallError(
                f"explore: no triangle that is shown has {said}; explore(model, {said}) shows it"
            )
        return found

    def _position(self, call: str, t: int) -> int:
        T = len(self.where.tokens)
        if not -T <= t < T:
            raise NumberError(f"explore: {call}({t}), expected a position from {-T} to {T - 1}")
        return t % T

    def lines(self, columns: int, *, ascii: bool = False, colour: bool = False) -> list[Line]:
        """The terminal picture in marked lines."""
        return drawn(
            self.triangles, self.where, self.t, self.answer,
            columns=columns, ascii=ascii, colour=colour,
        )  # fmt: skip

    def said(self, columns: int) -> str:
        """The terminal picture without colour."""
        return said(self.lines(columns))

    def widget(self) -> Any:
        """The page as a widget of a notebook: Python chooses a row, and hears which one is chosen.

        Returns:
            An `anywidget.AnyWidget` with the traits `row`, `column` and `shown`, the name of a
            triangle. `widget.row = 3` chooses in the page; `widget.observe(call, "row")` hears.

        Raises:
            CallError: anywidget is not installed; `pip install "trilby[widget]"`.
        """
        return widget(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file: the page (.html), a picture (.png, .svg), or the weights (.json, .csv).

        It appears whole or not at all. CSV has one line for each weight that is not zero.

        Raises:
            CallError: another ending. NumberError: too many weights to be written as text.
            FileError: it cannot be written.
        """
        save(self, path)

    def __str__(self) -> str:
        bits = depth()
        return coloured(self.lines(width(), colour=bits > 4), bits)

    def __repr__(self) -> str:
        return self.said(width())

    def _repr_html_(self) -> str:
        return frame(page(self, SMALL), png(self.triangles, side=SIDE), self.said(80))
