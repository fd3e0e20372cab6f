"""One triangle that is shown, and what is read off it."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ..bench import Growth
from ..errors import NumberError
from .patterns import group
from .positions import Positions

ROUNDING = 2.0**-30  # of the largest output, which weights and output may differ by in float64


class Head(NamedTuple):
    """Which part of a model a triangle belongs to.

    Attributes:
        layer: its number.
        kind: what the layer does there, "attention" or "delta", say.
        unit: what has weights of its own, "head" or "channel".
        number: of the head or channel, from 0.
        of: how many of them the layer has.
    """

    layer: int
    kind: str
    unit: str
    number: int
    of: int


@dataclass(frozen=True, eq=False)
class Triangle:
    """What each position reads of each other one: row = the position that reads.

    Attributes:
        name: of the mixer or module, and which of its triangles it is.
        weights: [T, T] float64.
        measured: whether it is the size of an influence, and not a weight.
        fact: one sentence, what the numbers are and which normalisation was taken.
        output: [T] the output of the first channel; None where it is no sum of weights.
        explained: [T] `wei @ x + carried`, the same from the weights; None likewise.
        where: its positions, if they are not those of the page.
        head: of a model, which part it is of.
        far: where it has several channels, the largest difference of all of them between output
            and weights, relative to the largest output.
        rounding: what that difference may be, of the largest output.
    """

    name: str
    weights: Tensor
    measured: bool
    fact: str
    output: Tensor | None = None
    explained: Tensor | None = None
    where: Positions | None = None
    head: Head | None = None
    far: float | None = None
    rounding: float = ROUNDING

    def __post_init__(self) -> None:
        if not bool(self.weights.isfinite().all()):
            t, s = (~self.weights.isfinite()).nonzero()[0].tolist()
            raise NumberError(
                f"explore: the weights of {self.name} are not finite, first at row {t}, column {s} "
                f"({float(self.weights[t, s]):g}); look at its inputs there"
            )

    @property
    def explains(self) -> bool:
        """Whether the weights give the output, but for rounding; also where there is none."""
        if self.residual is None or self.output is None:
            return True
        top = 1.0 if self.far is not None else max(float(self.output.abs().max()), 1.0)
        return self.residual <= self.rounding * top

    @cached_property
    def ahead(self) -> int:
        """How many cells above the diagonal are not zero: each is a leak."""
        return int(torch.count_nonzero(self.weights.triu(1)))

    @property
    def residual(self) -> float | None:
        """The largest difference between the output and `wei @ x + carried`; `far` where known."""
        if self.far is not None:
            return self.far
        if self.output is None or self.explained is None:
            return None
        return float((self.output - self.explained).abs().max())

    def sums(self) -> Tensor:
        """[T] the sum of each row."""
        return self.weights.sum(1)

    def lengths(self) -> Tensor:
        """[T] the effective length of each row: `(sum |w|)^2 / sum w^2`, 0 where all are zero.

        It is n where n positions count the same, and 1 where a single one counts.
        """
        size = self.weights.abs()
        return (size.sum(1) ** 2 / (size**2).sum(1)).nan_to_num(0)

    def top(self, t: int, most: int = 5) -> list[tuple[int, float]]:
        """The positions that row t reads most, with their weights; none that is zero."""
        row = self.weights[t]
        order = row.abs().argsort(descending=True, stable=True)[:most].tolist()
        return [(s, float(row[s])) for s in order if row[s] != 0]


@dataclass(frozen=True)
class Leak:
    """One kind of leak that was found.

    Attributes:
        subject: of which triangle.
        name: what kind of leak it is, in plain words.
        sentence: what the verifier says of it.
        position, reads: the first output that reads a later input, and that input; None where it
            reads another row of the batch.
        size: of the change.
        cells: how many cells above the diagonal are not zero.
        reproducer: a script that shows it.
    """

    subject: str
    name: str
    sentence: str
    position: int
    reads: int | None
    size: float
    cells: int
    reproducer: str = ""

    @property
    def group(self) -> str:
        """Its plain name, shared by all leaks of this kind."""
        return group(self.name)


@dataclass(frozen=True, eq=False)
class Form:
    """One form of a mixer beside its loop.

    Attributes:
        name: of the form.
        errors: how many positions were run -> dtype -> the largest difference from the loop in
            float64, relative to the largest output; None where the form cannot run.
        outputs: of the first channel in float64, one for each position that was run.
        apart: in float32, the same difference for each position.
        narrow: [n, C] in float32, of the first 16 channels; None where it cannot run.
        code: the lines that define it.
        cost: as its docstring says.
    """

    name: str
    errors: dict[str, dict[str, float | None]]
    outputs: tuple[float, ...]
    apart: tuple[float, ...]
    code: str
    cost: str
    narrow: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Held:
    """One tensor of a state, after each position.

    Attributes:
        name: of the tensor.
        counts: how many numbers it holds after each position.
        numbers: [n, 16] the first of them; NaN where there are fewer.
    """

    name: str
    counts: tuple[int, ...]
    numbers: Tensor

    @property
    def grows(self) -> bool:
        """Whether it holds more from position to position."""
        return len({*self.counts}) > 1


@dataclass(frozen=True, eq=False)
class Subject:
    """One mixer or module with all that is shown of it.

    Attributes:
        name: what it is called.
        python: how it was given, as Python.
        triangles: one, or one for each head or channel, or by change and by gradient.
        forms: of a mixer, those that it has.
        holds: of a mixer, what its state holds.
        leaks: what reads the future.
        tried: one sentence, how the future was looked for.
        linear: of a module, whether it is linear in its values; None where it is not known.
        early: of a mixer, the first cut of the future that changed an earlier output.
        growth: of a mixer, the times of its forms, if they were measured.
        notes: of a model, what is not shown, and how to ask for it.
    """

    name: str
    python: str
    triangles: tuple[Triangle, ...]
    forms: tuple[Form, ...] = ()
    holds: tuple[Held, ...] = ()
    leaks: tuple[Leak, ...] = ()
    tried: str = ""
    linear: bool | None = None
    early: int | None = None
    growth: Growth | None = None
    notes: tuple[str, ...] = ()
