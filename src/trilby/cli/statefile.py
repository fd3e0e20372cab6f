"""The state of a stream in a .safetensors file: its tensors, the mixer's name, the columns."""

import json
from typing import Any, NamedTuple

import safetensors
from safetensors.torch import save
from torch import Tensor

from ..contract import Contract
from ..errors import FileError
from ..files import Bundle
from ..files.opening import open_regular
from .columns import LAST


class Past(NamedTuple):
    """The contents of a state file."""

    path: str
    tensors: dict[str, Tensor]
    columns: tuple[str, ...] | None
    last: Tensor | None  # [C, 1], of a run with --skip-missing

    def fit(self, contract: Contract, blank: Any, bundle: Bundle, apart: bool = False) -> Any:
        """The state as the mixer takes it, if it fits this input.

        Args:
            contract: of the mixer.
            blank: a state with the shapes and dtypes that this input needs.
            bundle: the input.
            apart: whether each column has a state of its own, as with --skip-missing.

        Raises:
            FileError: tensors, shapes, dtypes or columns that do not fit the input.
        """
        if apart != (self.last is not None):
            wrote, do = ("without", "leave it out") if apart else ("with", "pass it")
            raise FileError(
                f"{self.path}: is the state of a run {wrote} --skip-missing; {do} here too"
            )
        needed = contract.state.tensors(blank)
        if set(self.tensors) != set(needed):
            raise FileError(
                f"{self.path}: holds {', '.join(sorted(self.tensors))}, the state of "
                f"{contract.name} is {', '.join(needed)}; give a file that --state-out wrote"
            )
        blanks = contract.state.extended(needed, self.tensors)
        for name, expected in blanks.items():
            found = self.tensors[name]
            if (found.shape, found.dtype) != (expected.shape, expected.dtype):
                raise FileError(
                    f"{self.path}: its {name} is {_words(found)}, {bundle.name} needs "
                    f"{_words(expected)}; continue with an input of the same shape"
                )
        columns = bundle.first.layout.columns
        if self.columns and columns and self.columns != columns:
            raise FileError(
                f"{self.path}: its columns are {_listed(self.columns)}, those of {bundle.name} "
                f"{_listed(columns)}; continue with the same columns in the same order"
            )
        return contract.state.filled(self.tensors)


def read_state(path: str, mixer: str) -> Past:
    """The state that a run of `mixer` wrote to the file at `path`."""
    open_regular(path)[0].close()  # raises if the path itself is wrong
    try:
        with safetensors.safe_open(path, "pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            columns = json.loads(said.get("columns", "null"))
            last = tensors.pop(LAST) if said.get("skip_missing") else None
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise FileError(f"{path}: is not a state file ({error}); check the path") from error
    if said.get("mixer") != mixer:
        raise FileError(
            f"{path}: is the state of {said.get('mixer', 'no mixer')}, expected {mixer}; give a "
            "file that --state-out wrote"
        )
    return Past(path, tensors, columns and tuple(columns), last)


def state_bytes(
    contract: Contract, state: Any, columns: tuple[str, ...] | None, last: Tensor | None = None
) -> bytes:
    """The state as the bytes of a .safetensors file; `last` is that of `Past`."""
    tensors = {name: field.contiguous() for name, field in contract.state.tensors(state).items()}
    said = {"mixer": contract.name, "columns": json.dumps(columns)}
    if last is not None:
        tensors, said = tensors | {LAST: last}, said | {"skip_missing": "yes"}
    return save(tensors, said)


def _words(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _listed(columns: tuple[str, ...]) -> str:
    return repr(", ".join(columns[:20]))
