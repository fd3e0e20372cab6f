"""The state of a stream in a .safetensors file: its tensors, the mixer's name, the columns."""

import json
from typing import Any, NamedTuple

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from ..card import Mixer
from ..errors import FileError
from ..files import Source
from ..files.opening import open_regular


class Past(NamedTuple):
    """What a state file holds."""

    path: str
    tensors: dict[str, Tensor]
    columns: tuple[str, ...] | None

    def fit(self, card: Mixer, source: Source) -> Any:
        """The state as the mixer's own tuple, for this input and no other.

        Raises:
            FileError: other fields, another shape, another dtype or other columns than the input.
        """
        layout = source.layout
        blank = card.forms["loop"](torch.zeros(layout.B, 0, layout.C))[1]
        if set(self.tensors) != set(blank._fields):
            raise FileError(
                f"{self.path}: holds {', '.join(sorted(self.tensors))}, the state of {card.name} "
                f"is {', '.join(blank._fields)}; give one that --state-out left"
            )
        for name, expected in blank._asdict().items():
            found = self.tensors[name]
            if (found.shape, found.dtype) != (expected.shape, expected.dtype):
                raise FileError(
                    f"{self.path}: its {name} is {_words(found)}, {source.name} needs "
                    f"{_words(expected)}; go on with a file of the same shape"
                )
        if self.columns and layout.columns and self.columns != layout.columns:
            raise FileError(
                f"{self.path}: its columns are {_listed(self.columns)}, those of {source.name} "
                f"{_listed(layout.columns)}; go on with the same ones in the same order"
            )
        return type(blank)(**self.tensors)


def read_state(path: str, mixer: str) -> Past:
    """The state in the file at `path`, left there by a stream through `mixer`."""
    open_regular(path)[0].close()  # says what is wrong with the path itself
    try:
        with safetensors.safe_open(path, "pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            columns = json.loads(said.get("columns", "null"))
    except (safetensors.SafetensorError, ValueError) as error:
        raise FileError(f"{path}: is not a state file ({error}); check the path") from error
    if said.get("mixer") != mixer:
        raise FileError(
            f"{path}: is the state of {said.get('mixer', 'no mixer')}, expected {mixer}; give one "
            "that --state-out left"
        )
    return Past(path, tensors, columns and tuple(columns))


def state_bytes(state: Any, mixer: str, columns: tuple[str, ...] | None) -> bytes:
    """The state as the bytes of a .safetensors file."""
    tensors = {name: field.contiguous() for name, field in state._asdict().items()}
    return save(tensors, {"mixer": mixer, "columns": json.dumps(columns)})


def _words(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _listed(columns: tuple[str, ...]) -> str:
    return repr(", ".join(columns[:20]))
