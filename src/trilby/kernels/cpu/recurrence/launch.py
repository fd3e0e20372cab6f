"""From tensors to programs: which program, what it is told, how work is cut, scratch memory."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from ...machine import memory, threads
from ...machine.compiler import Kernel
from ...simd.elements import ELEMENT
from ...simd.places import gaps
from ...simd.vector import lanes
from .sequences import Piece, Size

SMALL = 1 << 19  # products, below which starting a thread costs more than it saves
LARGE = 1 << 24  # products, from which on pieces of the work cost nothing

CHECKED = False
"""Whether parts run one by one, and the memory between their places is looked at after each.

Tests set it.
"""

_ZEROS = (0, 0, 0)  # enough for a zero of each of three types


def fresh(like: Tensor, shape: Any) -> Tensor:
    """Fresh contiguous memory, in huge pages where it is large."""
    if prod(shape) * like.element_size() < memory.LARGE:
        return like.new_empty(shape)  # a fifth of the time of what follows
    return memory.empty_like(like.new_empty(1).expand(shape))


def size_of(state: Tensor, T: int, groups: int) -> Size:
    """The sizes of a launch with states like this one, [B, H, rows, columns]."""
    kind: Any = ELEMENT[state.dtype]
    _, heads, rows, columns = state.shape
    return Size(T, heads, groups, rows, columns, lanes(kind, 2))


def gates(g: Tensor, state: Tensor) -> Tensor:
    """Numbers of positions, or of their channels, in the dtype of the state."""
    return g if g.dtype == state.dtype else g.detach().to(state.dtype)


def launch(
    kernel: Kernel, tensors: Sequence[Tensor], kinds: Sequence[Tensor], size: Size,
    places: Callable[[Size, Piece], Sequence[int]], back: bool = False,
) -> None:  # fmt: skip
    """Run a program over all heads of a batch.

    Args:
        kernel: the program.
        tensors: what it is told the addresses and strides of, four axes each, or [B, T, n].
        kinds: a sequence, a result and a state, by whose dtypes the program is picked.
        size: the sizes.
        places: how many numbers each place of its scratch memory has.
        back: a flag for the program.
    """
    program = kernel.of((ELEMENT[kinds[0].dtype], ELEMENT[kinds[1].dtype]))
    B, T, heads, _, rows, columns, _ = tensors[0].shape[0], *size
    work = B * heads * T * rows * columns
    wanted = threads.count() if work >= SMALL else 1
    parts, starts, between = _cut(places, size, B, (wanted, threads.pieces(wanted, work, LARGE)))
    told = [number for t in tensors for number in _told(t)]
    told += (*size, *starts, back, *_ZEROS)
    run(program, told, (parts, wanted), between, kinds[2], tensors)


def run(
    program: Any, told: Sequence[int], work: tuple[Sequence[Sequence[int]], int],
    between: list[tuple[int, int]], like: Tensor, alive: Any,
) -> None:  # fmt: skip
    """Run a program on all parts, each thread with scratch memory of its own.

    Args:
        program, told: what is run, and what it is told.
        work: the parts, and how many threads there may be.
        between: the gaps between the places of scratch memory, whose numbers are those of `like`.
        alive: what must not be freed meanwhile.
    """
    parts, wanted = work
    if CHECKED:
        _checked(program, told, parts, between, like)
        return
    each = between[-1][1]
    scratch = like.new_empty(min(len(parts), wanted) * each)
    place = scratch.data_ptr(), each * scratch.element_size()
    threads.spread(program, told, parts, wanted, place, (alive, scratch))


def starts_of(between: list[tuple[int, int]]) -> tuple[int, ...]:
    """Where the places of scratch memory begin, by the gaps between them."""
    return (0, *(end for _, end in between[:-1]))


def _told(t: Tensor) -> tuple[int, ...]:
    """The address of a tensor, its strides of four axes, and the size of its third axis."""
    strides = t.stride()
    last = () if len(strides) == 4 else (1,)
    return (t.data_ptr(), *strides, *last, t.shape[2])


@lru_cache(maxsize=256)  # a small call would spend a fifth of its time here
def _cut(
    places: Callable[[Size, Piece], Sequence[int]], size: Size, B: int, number: tuple[int, int]
) -> tuple[list[tuple[int, int, int, int]], tuple[int, ...], list[tuple[int, int]]]:
    """The parts, for a number of threads and of pieces; where places of scratch memory begin."""
    parts = threads.grid(B * size.groups, -(-size.columns // size.lanes), *number)
    widest = max(right - left for *_, left, right in parts)
    between = gaps(places(size, Piece(0, 1, 0, widest)))
    return parts, starts_of(between), between


def _checked(
    program: Any,
    told: Sequence[int],
    parts: Sequence[Sequence[int]],
    between: list[tuple[int, int]],
    like: Tensor,
) -> None:
    """Run parts one by one, and raise if one wrote between the places of its scratch memory."""
    scratch = like.new_empty(between[-1][1])
    for part in parts:
        scratch.fill_(torch.nan)
        threads.spread(program, told, [part], 1, (scratch.data_ptr(), 0))
        for i, (start, end) in enumerate(between):
            if not scratch[start:end].isnan().all():
                raise RuntimeError(
                    f"launch: a program wrote beyond place {i} of its scratch memory: "
                    "declare more numbers for that place"
                )
