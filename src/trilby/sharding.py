"""Which processes share the sequences of ordinary calls: `with trilby.sharded(...)`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .errors import CallError
from .shapes import what

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

    Group = ProcessGroup | DeviceMesh
else:
    Group = object  # torch.distributed is not imported before it is used

_open: list[Any] = []  # process groups; no ContextVar, which torch.compile cannot read
_slots: list[int | None] = []  # what goes with each of them


@contextmanager
def sharded(group: Group, dim: str | None = None, *, slots: int | None = None) -> Iterator[None]:
    """While this context is open, ordinary calls of mixers take the form `shard`.

    Each process of the group then gives its own piece of a sequence, in the order of the ranks, and
    gets that piece of y, and the state after the whole sequence.

    Args:
        group: a `ProcessGroup`, or a `DeviceMesh`.
        dim: the dimension of the mesh along which time is split, e.g. "sequence". A mesh of one
            dimension needs none.

    Raises:
        CallError: neither a group nor a mesh, or a mesh of several dimensions without `dim`.

    A call that names a form takes that form, on its own piece alone. The context holds for the
    whole process, which is one rank. Keep `backward` inside of it where a layer is computed again
    on the way back (`torch.utils.checkpoint`).

    Each process of a program that `torchrun` started::

        mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("data", "sequence"))
        with trilby.sharded(mesh, dim="sequence"):
            y, state = trilby.decay(q, k, v, g)
    """
    _open.append(process_group("sharded", group, dim))
    _slots.append(slots)
    try:
        yield
    finally:
        _open.pop()
        _slots.pop()


def current() -> Any:
    """The process group of the innermost `sharded` that is open; None outside of any.

    >>> current() is None
    True
    """
    return _open[-1] if _open else None


def slots() -> int | None:
    """What the innermost `sharded` says of the state that comes back; None outside of any.

    >>> slots() is None
    True
    """
    return _slots[-1] if _slots else None


def process_group(where: str, group: object, dim: str | None = None) -> Any:
    """The `ProcessGroup` of a group, or of one dimension of a mesh.

    >>> process_group("demo", 3)
    Traceback (most recent call last):
    trilby.errors.CallError: demo: group is an int, expected a ProcessGroup or a DeviceMesh of \
torch.distributed
    """
    import torch.distributed as dist
    from torch.distributed.device_mesh import DeviceMesh

    if isinstance(group, DeviceMesh):
        names = group.mesh_dim_names or ()
        if dim is None and group.ndim != 1:
            raise CallError(
                f"{where}: the mesh has {group.ndim} dimensions {names}; say along which of them "
                'time is split, e.g. mesh["sequence"] or dim="sequence"'
            )
        if dim is not None and dim not in names:
            raise CallError(f"{where}: dim is {dim!r}, expected one of the mesh, {names}")
        return group.get_group(dim)
    if not isinstance(group, dist.ProcessGroup):
        raise CallError(
            f"{where}: group is {what(group)}, expected a ProcessGroup or a DeviceMesh of "
            "torch.distributed"
        )
    if dim is not None:
        raise CallError(f"{where}: dim is {dim!r}, but a ProcessGroup has no dimensions; drop it")
    return group
