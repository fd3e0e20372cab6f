"""The state of a mixer: which tensors it holds, how they are nested, and what each of them is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from .errors import ShapeError, StateError
from .shapes import bind, exactly, finest, what


class Kept(Enum):
    """The dtype of a tensor in a state, if it depends on the dtype of the sequences."""

    WIDE = "float64 for float64 sequences, float32 for all others"
    SAME = "the dtype of the sequences"
    FINE = "float64, or float32 on a device that has no float64"


WIDE, SAME, FINE = Kept


class Part(NamedTuple):
    """One tensor of a state: its path, e.g. "total" or "ssm.h", its axes and its dtype."""

    path: str
    axes: tuple[str, ...]
    dtype: torch.dtype | Kept


class Parts:
    """The tensors of a state, in order.

    Args:
        nest: `name=(axes, dtype)` in a dict, or dicts inside it. An axis is a letter, or a letter
            and how much less, "W-1", or as long as that of one argument, "H:k".
        made: called with the entries of the dict to make a state, e.g. a NamedTuple. None: a state
            of several tensors is a dict.
        grows: the letter of an axis that grows from call to call: 0 in a state of zeros, else as
            long as the state says.

    >>> parts = Parts(dict(conv=("B C", SAME), ssm=dict(h=("B C N", WIDE))))
    >>> [part.path for part in parts]
    ['conv', 'ssm.h']
    >>> parts.filled({"conv": 1, "ssm.h": 2})
    {'conv': 1, 'ssm': {'h': 2}}
    """

    def __init__(
        self, nest: Mapping[str, Any], made: Callable[..., Any] | None = None, grows: str = ""
    ) -> None:
        self.nest, self.made, self.grows = nest, made, grows
        self.list = tuple(_parts(nest))
        self.single = [part.path for part in self.list] == ["state"] and made is None
        self._flat = made if len(self.list) == len(nest) else None  # called with the tensors

    def __iter__(self) -> Iterator[Part]:
        return iter(self.list)

    def tensors(self, state: Any) -> dict[str, Any]:
        """The tensors of a state by path; a state that is one tensor is called `state`.

        Raises:
            StateError: the state is not built as the contract says.
        """
        leaves = self.leaves(state)
        if leaves is None:
            raise StateError(f"state is {what(state)}, expected {self.wanted}")
        return dict(zip((part.path for part in self.list), leaves, strict=True))

    def filled(self, tensors: Mapping[str, Any]) -> Any:
        """A state from tensors by path, the inverse of `tensors`."""
        if self.single:
            return tensors["state"]
        found = _filled(self.nest, "", tensors)
        return found if self.made is None else self.made(**found)

    def leaves(self, state: Any) -> list[Any] | None:
        """The tensors of a state in order; None if it is not built as the contract says."""
        if self.single:
            return [state]
        if self._flat is not None and isinstance(state, tuple) and len(state) == len(self.list):
            return list(state)
        found: list[Any] = []
        return found if _collect(self.nest, state, found) else None

    def fits(self, state: Any, like: Tensor, size: dict[str, int]) -> bool:
        """Whether a call of these sizes can start from a state."""
        leaves = self.leaves(state)
        if leaves is None:
            return False
        dtype, device = like.dtype, like.device
        size = self._grown(leaves, size)
        for (_, axes, rule), leaf in zip(self.list, leaves, strict=True):
            if not isinstance(leaf, Tensor) or leaf.device != device:
                return False
            shape = leaf.shape
            if len(shape) != len(axes) or leaf.dtype != dtype_of(rule, dtype, device):
                return False
            for axis, n in zip(axes, shape, strict=True):
                if sized(axis, size) != n:
                    return False
        return True

    def refuse(
        self,
        where: str,
        state: Any,
        like: Tensor,
        size: dict[str, int],
        known: Mapping[str, tuple[object, str]],
    ) -> NoReturn:
        """Raise the error for a state that does not fit.

        Args:
            where: the call as the user knows it.
            like: a sequence of the call.
            size: letter -> size, from the sequences.
            known: the tensors of the call and their axes, for `bind`.
        """
        leaves = self.leaves(state)
        if leaves is None:
            raise StateError(f"{where}: state is {what(state)}, expected {self.wanted}")
        found = {p.path: (t, _free(p.axes)) for p, t in zip(self.list, leaves, strict=True)}
        bind(where, **({} if self.single else known), **found)
        size = self._grown(leaves, size)
        for (path, axes, rule), leaf in zip(self.list, leaves, strict=True):
            sizes = [sized(axis, size) for axis in axes]
            if list(leaf.shape) != sizes:
                raise ShapeError(
                    f"{where}: {path} is {list(leaf.shape)}, expected [{shown(axes)}] = "
                    f"{sizes}; give the state that an earlier call returned"
                )
            exactly(where, dtype_of(rule, like.dtype, like.device), like, **{path: leaf})
        raise AssertionError(f"{where}: the contract refuses a state and cannot say why")

    def extended(
        self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Tensors by path, zeros at the end of an axis that grows where others have it longer.

        >>> parts = Parts(dict(keys=("B S", SAME), count=("B", torch.int64)), grows="S")
        >>> tensors = dict(keys=torch.ones(1, 2), count=torch.tensor([2]))
        >>> parts.extended(tensors, dict(keys=torch.zeros(1, 4), count=None))["keys"].tolist()
        [[1.0, 1.0, 0.0, 0.0]]
        """
        found = dict(tensors)
        for path, axes, _ in self.list:
            if self.grows in axes:
                old, axis = found[path], axes.index(self.grows)
                shape = [*old.shape]
                shape[axis] = like[path].shape[axis] - shape[axis]
                if shape[axis] > 0:
                    found[path] = torch.cat([old, old.new_zeros(shape)], axis)
        return found

    def _grown(self, leaves: Sequence[Any], size: dict[str, int]) -> dict[str, int]:
        """The sizes, with that of the axis that grows, as the first of some leaves has it."""
        for (_, axes, _), leaf in zip(self.list, leaves, strict=True):
            if self.grows in axes and isinstance(leaf, Tensor) and leaf.ndim == len(axes):
                return size | {self.grows: leaf.shape[axes.index(self.grows)]}
        return size

    @property
    def wanted(self) -> str:
        """What a state must be, in words."""
        listed = ", ".join(f"{p.path} [{', '.join(map(_plain, p.axes))}]" for p in self.list)
        kind = {2: "the pair", 3: "the triple"}.get(len(self.list), f"the {len(self.list)} parts")
        return f"{kind} ({listed}) that an earlier call returned"

    def blank(self, like: Any, size: dict[str, int], expanded: bool = False) -> Any:
        """A state of zeros on the device of `like`; `expanded`: one zero for all elements."""
        leaves, size = [], {self.grows: 0} | size
        for _, axes, rule in self.list:
            dtype = dtype_of(rule, like.dtype, like.device)
            shape = [sized(axis, size) for axis in axes]
            if expanded:
                leaves.append(like.new_zeros((), dtype=dtype).expand(shape))
            else:
                leaves.append(like.new_zeros(size=shape, dtype=dtype))
        if self.single:
            return leaves[0]
        if self._flat is not None:
            return self._flat(*leaves)
        return self.filled(dict(zip((part.path for part in self.list), leaves, strict=True)))


def _parts(nest: Mapping[str, Any], before: str = "") -> list[Part]:
    found = []
    for name, entry in nest.items():
        if isinstance(entry, Mapping):
            found += _parts(entry, f"{before}{name}.")
        else:
            axes, dtype = entry
            found.append(Part(before + name, tuple(axes.split()), dtype))
    return found


def _collect(nest: Mapping[str, Any], state: Any, found: list[Any]) -> bool:
    """Append the tensors of a state to `found`; false if it is not built like `nest`."""
    if isinstance(state, tuple) and len(state) == len(nest):
        values: Sequence[Any] = state
    elif isinstance(state, Mapping) and state.keys() == nest.keys():
        values = [state[name] for name in nest]
    else:
        return False
    for entry, value in zip(nest.values(), values, strict=True):
        if isinstance(entry, Mapping):
            if not _collect(entry, value, found):
                return False
        else:
            found.append(value)
    return True


def _filled(nest: Mapping[str, Any], before: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _filled(entry, f"{before}{name}.", tensors)
        if isinstance(entry, Mapping)
        else tensors[before + name]
        for name, entry in nest.items()
    }


def letter_of(axis: str) -> str:
    """The letter of an axis of a state: W of "W", and of "W-1", and H of "H:k"."""
    return _plain(axis).partition("-")[0]


def shown(axes: Sequence[str]) -> str:
    """The axes of a part of a state in words: "B S H K"."""
    return " ".join(map(_plain, axes))


def _plain(axis: str) -> str:
    return axis.partition(":")[0]


def _free(axes: Sequence[str]) -> str:
    """The axes for `bind`, where "H:k", which has a size of its own, may have any."""
    return " ".join(f":{_plain(axis)}" if ":" in axis else axis for axis in axes)


def sized(axis: str, size: Mapping[str, int]) -> int:
    """How long an axis of a state is, e.g. "W", or "W-1" for one less and at least 0.

    `size` has "H:k" too, where a part of the state says so.

    >>> sized("W-1", {"W": 4})
    3
    """
    letter, _, less = axis.partition("-")
    return max(size[letter] - int(less), 0) if less else size[letter]


def wide(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, and float32 for everything else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def dtype_of(rule: torch.dtype | Kept, like: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype of a part of a state, for sequences of the dtype `like` on a device.

    >>> dtype_of(FINE, torch.float16, torch.device("mps")), dtype_of(SAME, torch.float16, None)
    (torch.float32, torch.float16)
    """
    if isinstance(rule, torch.dtype):
        return rule
    if rule is FINE:
        return finest(device)
    return wide(like) if rule is WIDE else like
