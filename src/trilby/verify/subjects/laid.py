"""A call of a stream whose sequences lie otherwise than `[B, T, ...]`, or inside of an argument."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...streaming import Call
from .example import Example


@dataclass(frozen=True)
class Laid(Call):
    """A call that is handed sequences [B, T, ...], and lays them out as the example says.

    Attributes:
        example: the other arguments, and how the sequences lie.
        marks: whose rows these are, if something goes along with them.
    """

    example: Example
    marks: tuple[Tensor, ...]

    def __call__(self, **more: Any) -> Any:
        """The result of the call, with more keywords."""
        args, kwargs = self.example.filled((*self.args, *self.marks))
        return self.target(*args, **kwargs, **more)


def laid(target: Any, example: Example, sequences: tuple[Tensor, ...]) -> Call:
    """The call of a stream with these sequences."""
    if example.plain:
        args, kwargs = example.filled(sequences)
        return Call(target, args, kwargs, example.slots, example.read)
    n = len(example.paths)
    return Laid(target, [*sequences[:n]], {}, tuple(range(n)), example.read, example, sequences[n:])
