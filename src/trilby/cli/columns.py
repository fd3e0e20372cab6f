"""`--skip-missing`: every column is a sequence of its own, and a missing value is no position."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..card import Mixer
from ..errors import FileError

LAST = "skip_missing.last"
"""The entry of a state file with the last result of each column, [C, 1]."""


class Columns:
    """A mixer on the columns of a table, each with its own state.

    Where a value is missing (nan), the state does not change and the result is repeated; before the
    first value it is nan. So every row has a result, as in pandas.

    Args:
        card: a mixer of one sequence.
        parameters: of the mixer, for all columns.
        blank: a state of C rows and one channel, in which to start.
        last: [C, 1], the result before the first position; nan where there was none.
    """

    def __init__(
        self, card: Mixer[..., Any], parameters: Mapping[str, Any], blank: Any, last: Tensor
    ) -> None:
        self.card, self.parts = card, card.contract.state
        self.tensors = {n: t.clone() for n, t in self.parts.tensors(blank).items()}
        self.last = last.clone()
        self.begun = ~last.isnan()[:, 0]  # a state of an earlier run, or of an earlier block
        self.parameters = [_column(card, parameters, c) for c in range(len(last))]

    def mix(self, x: Tensor, form: str | None) -> Tensor:
        """The results [1, T, C] of a block [1, T, C]."""
        given = x[0].numpy()  # numpy, as threads of torch cost more than such small operations
        there = ~np.isnan(given)
        found = np.empty_like(given)
        for c in range(len(self.last)):
            found[:, c] = self._column(c, given[:, c], there[:, c], form)
        return torch.from_numpy(found)[None]

    @property
    def state(self) -> Any:
        """The state of each column after the last block: C rows of one channel."""
        return self.parts.filled(self.tensors)

    def _column(self, c: int, x: np.ndarray, there: np.ndarray, form: str | None) -> np.ndarray:
        before = float(self.last[c, 0])  # is repeated until the first value
        if not there.any():
            return np.full_like(x, before)
        whole = bool(there.all())
        seen = torch.from_numpy(np.ascontiguousarray(x if whole else x[there]))[None, :, None]
        state = None
        if self.begun[c]:
            state = self.parts.filled({name: t[c : c + 1] for name, t in self.tensors.items()})
        y, after = self.card(seen, **self.parameters[c], state=state, form=form)
        for name, new in self.parts.tensors(after).items():
            self.tensors[name][c : c + 1] = new
        found = y[0, :, 0].numpy()
        self.begun[c], self.last[c, 0] = True, float(found[-1])
        if whole:
            return found
        return np.concatenate([np.full_like(found, before, shape=1), found])[there.cumsum()]


def channel(card: Mixer[..., Any]) -> str:
    """The letter of the axis of channels.

    Raises:
        FileError: the mixer has several sequences, or they have no axis of channels.
    """
    contract = card.contract
    axes = contract.arguments[contract.sequences[0]].axes or ()
    if len(contract.sequences) > 1 or len(axes) != 3:
        raise FileError(f"--skip-missing: {card.name} does not take x [B, T, C]; leave it out")
    if contract.grows:
        raise FileError(f"--skip-missing: the state of {card.name} grows with T; leave it out")
    return axes[-1]


def _column(card: Mixer[..., Any], parameters: Mapping[str, Any], c: int) -> dict[str, Any]:
    """The parameters of one channel: those with an axis of channels are cut."""
    letter, found = channel(card), {}
    for name, value in parameters.items():
        axes = card.contract.arguments[name].axes or ()
        if isinstance(value, Tensor) and letter in axes:
            value = value.narrow(axes.index(letter), c, 1)
        found[name] = value
    return found
