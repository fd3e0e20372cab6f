"""One small exchange before each call: do all ranks make the same one?"""

import json
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..contract import Contract
from ..errors import RankError
from .ranks import Ranks

SIZE = 2048
"""Bytes of what a rank says of its call."""


class Agreement(NamedTuple):
    """What the ranks know of each other after they agreed."""

    lengths: list[int]  # positions on each rank
    trains: bool  # whether any rank wants gradients


def agree(
    where: str, ranks: Ranks, said: Mapping[str, Any], own: Mapping[str, Any], device: torch.device
) -> Agreement:
    """Compare what all ranks say of their call.

    Args:
        where: the call as the user knows it.
        ranks: who shares the sequence.
        said: what must be the same on every rank, by its name.
        own: `T`, how many positions this rank has; `trains`, whether it wants gradients; `fault`,
            why it cannot make the call, or nothing.
        device: where messages to these ranks are.

    Raises:
        RankError: one line that names what differs, the ranks, and what each of them has.
    """
    every = _told(ranks, {"call": where, **said}, own, device)
    if own["fault"]:
        return Agreement([], False)  # the caller raises what it is
    for rank, (_, other) in enumerate(every):
        if other["fault"]:
            raise RankError(f"{where}: rank {rank} cannot make the call: {other['fault']}")
    first = every[0][0]
    for rank, (told, _) in enumerate(every):
        for name in [*first, *told]:
            one, two = first.get(name), told.get(name)
            if one != two:
                raise RankError(
                    f"{where}: {name} is {one} on rank 0 and {two} on rank {rank}; every rank of "
                    "the group has to make the same call, on pieces that differ in T alone"
                )
    return Agreement([o["T"] for _, o in every], any(o["trains"] for _, o in every))


def description(
    contract: Contract, given: tuple[Any, ...], state: Any, packed: bool
) -> dict[str, Any]:
    """A call in words, without the length of its pieces.

    >>> from trilby.mixers.mean import CONTRACT
    >>> told = description(CONTRACT, (torch.zeros(2, 7, 3),), None, False)
    >>> told["x"], told["state"], told["documents"]
    ('[2, T, 3] float32', 'None', 'not given')
    """
    told = {"trilby": version("trilby"), "torch": str(torch.__version__)}
    for argument, value in zip(contract.arguments.values(), given, strict=True):
        told[argument.name] = _shape(value, argument.axes or ())
    leaves = None if state is None else contract.state.leaves(state)
    told["state"] = "None" if leaves is None else ", ".join(_shape(x) for x in leaves)
    told["documents"] = "given" if packed else "not given"
    told["gradients"] = "enabled" if torch.is_grad_enabled() else "disabled"
    return told


def _shape(value: Any, axes: tuple[str, ...] = ()) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    sizes: list[int | str] = list(value.shape)
    if "T" in axes:
        sizes[axes.index("T")] = "T"
    return f"[{', '.join(map(str, sizes))}] {str(value.dtype).removeprefix('torch.')}"


def _told(
    ranks: Ranks, said: Mapping[str, Any], own: Mapping[str, Any], device: torch.device
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What every rank says, through a message of one size."""
    text = json.dumps([said, own]).encode()
    if len(text) > SIZE:  # too many arguments: what differs is not told then
        digest = sha256(text).hexdigest()
        text = json.dumps([{"call": said["call"], "arguments": digest}, own]).encode()
    message = torch.frombuffer(bytearray(text.ljust(SIZE)), dtype=torch.uint8).to(device)
    return [tuple(json.loads(bytes(one.tolist()))) for one in ranks.gathered(message).cpu()]
