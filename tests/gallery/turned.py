"""An exhibit whose time is on another axis, as one with time on axis 1: for plain probes."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from trilby.gallery import Exhibit


def turned(exhibit: Exhibit) -> Exhibit:
    """The exhibit wrapped, if its time is not on axis 1; its name stays."""
    axis = exhibit.how.get("time_axis", 1)
    if axis == 1:
        return exhibit

    turn = lambda x: x.transpose(1, axis)

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = exhibit.build()

        def forward(self, x: Tensor) -> Any:
            return turn(self.inner(turn(x)))

    Turned.__name__ = exhibit.build.__name__
    how = {key: value for key, value in exhibit.how.items() if key != "time_axis"}
    return replace(exhibit, build=Turned, example=lambda: turn(exhibit.example()), how=how)
