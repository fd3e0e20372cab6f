"""From tensors to programs: which program, what it is told, how work is cut, scratch memory."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from numba.np.numpy_support import as_dtype
from torch import Tensor

from ...machine import threads
from ...machine.compiler import Kernel
from ...machine.memory import empty_like
from ...simd.elements import ELEMENT
from ...simd.places import gaps
from ...simd.vector import lanes
from .sequences import Piece, Size

SMALL = 1 << 20  # products, below which starting a thread costs more than it saves
LARGE = 1 << 24  # products, from which on pieces of the work cost nothing

CHECKED = False
"""Whether every job is followed by a look at the memory between its places. Tests set it."""

_KINDS: list[Any] = list(ELEMENT.values())
_ZERO: dict[Any, Any] = {kind: as_dtype(kind).type(0) for kind in _KINDS}


def fresh(like: Tensor, shape: Any) -> Tensor:
    """Fresh contiguous memory, in huge pages where it is large."""
    return empty_like(like.new_empty(1).expand(shape))


def size_of(state: Tensor, T: int, groups: int) -> Size:
    """The sizes of a launch with states like this one, [B, H, rows, columns]."""
    kind: Any = ELEMENT[state.dtype]
    _, heads, rows, columns = state.shape
    return Size(T, heads, groups, rows, columns, lanes(kind, 2))


def gates(g: Tensor, state: Tensor) -> Tensor:
    """g [B, T, n] as a sequence [B, T, n, 1] in the dtype of the state."""
    return g.detach().to(state.dtype)[..., None]


def launch(
    kernel: Kernel, tensors: Sequence[Tensor], kinds: Sequence[Tensor], size: Size,
    places: Callable[[Size, Piece], Sequence[int]], back: bool = False,
) -> None:  # fmt: skip
    """Run a program over all heads of a batch.

    Args:
        kernel: the program.
        tensors: what it is told the addresses and strides of, four axes each.
        kinds: a sequence, a result and a state, by whose dtypes the program is picked.
        size: the sizes.
        places: how many numbers each place of its scratch memory has.
        back: a flag for the program.
    """
    B = tensors[0].shape[0]
    elements = [ELEMENT[t.dtype] for t in kinds]
    program = kernel.of((elements[0], elements[1]))
    zeros, told = tuple(_ZERO[kind] for kind in elements), tuple(map(_told, tensors))
    work = B * size.heads * size.T * size.rows * size.columns
    wanted = threads.count() if work >= SMALL else 1
    blocks = -(-size.columns // size.lanes)
    pieces = threads.pieces(wanted, work, LARGE)
    parts = threads.grid(B * size.groups, blocks, wanted, pieces)
    sizes = tuple(size)
    starts, between = _layout(places, size, max(right - left for *_, left, right in parts))
    jobs = [partial(program, zeros, told, sizes, part, back, starts) for part in parts]
    _run(jobs, wanted, between, kinds[2])


def _told(t: Tensor) -> tuple[int, ...]:
    """The address of a tensor of four axes, its strides, and the size of its third axis."""
    return (t.data_ptr(), *t.stride(), t.shape[2])


@lru_cache(maxsize=256)  # a small call would spend a tenth of its time here
def _layout(
    places: Callable[[Size, Piece], Sequence[int]], size: Size, blocks: int
) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """Where the places of scratch memory begin for a piece so many blocks wide, and the gaps."""
    between = gaps(places(size, Piece(0, 1, 0, blocks)))
    return (0, *(end for _, end in between[:-1])), between


def _run(
    jobs: Sequence[Callable[[int], None]], wanted: int, between: list[tuple[int, int]], like: Tensor
) -> None:
    """Run the jobs on so many threads, each in scratch memory that no other uses meanwhile."""
    free = [like.new_empty(between[-1][1]) for _ in range(min(len(jobs), wanted))]

    def run(job: Callable[[int], None]) -> None:
        scratch = free.pop()
        if CHECKED:
            scratch.fill_(torch.nan)
        job(scratch.data_ptr())
        for i, (start, end) in enumerate(between if CHECKED else ()):
            if not scratch[start:end].isnan().all():
                raise RuntimeError(
                    f"launch: a program wrote beyond place {i} of its scratch memory: "
                    "declare more numbers for that place"
                )
        free.append(scratch)

    threads.spread([partial(run, job) for job in jobs], wanted)
