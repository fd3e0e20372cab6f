"""Mutants of a sequence in pieces on several ranks. Each differs from `pieces` in one thing.

`pieces` is a running mean that gathers the sums of all ranks; it uses torch.distributed alone. The
two about a halo are convolutions.
"""

import os
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from ...mixers.conv import MIXER as CONV
from ...mixers.conv import shard
from ...mixers.mean import State
from .documents import apart
from .wrong import Mutant, Result, nothing


class _Gathered(torch.autograd.Function):
    """A tensor of one shape from every rank: [ranks, ...]. The way back adds up what each gives."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: Any) -> Tensor:
        ctx.group = group
        every = [torch.empty_like(own) for _ in range(_size(group))]
        dist.all_gather(every, own.contiguous(), group=group)
        return torch.stack(every)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        whole = grads[0].contiguous()
        dist.all_reduce(whole, group=ctx.group)
        return whole[_rank(ctx.group)], None


class Told(NamedTuple):
    """What every rank tells of its piece, rank by rank.

    Attributes:
        sums: [ranks, B, C] of the last document.
        held: [ranks, B], its positions in the piece.
        T: [ranks, B], those of the piece.
        first, last: [ranks, B], the ids of the first and of the last document.
    """

    sums: Tensor
    held: Tensor
    T: Tensor
    first: Tensor
    last: Tensor


def pieces(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """The running mean of a sequence of which this rank has a piece."""
    held, told = state or nothing(x), tell(x, documents, group)
    start = before(told, held, _rank(group), documents)
    return apart(x, start, documents)[0], after(told, held)


def tell(x: Tensor, documents: Tensor | None, group: Any) -> Told:
    """Gather what all ranks tell."""
    B, T, C = x.shape
    ids = torch.zeros(B, T, dtype=torch.int64) if documents is None else documents
    ends = torch.zeros(B, 2) if not T else ids[:, [0, -1]]
    mine = ids == ends[:, 1:]
    sums = (x.double() * mine[..., None]).sum(1)
    own = torch.cat([sums, mine.sum(1)[:, None], torch.full((B, 1), T), ends], 1).double()
    every = own[None] if _size(group) == 1 else _Gathered.apply(own, group)
    count, length, first, last = every[..., C:].detach().long().unbind(-1)
    return Told(every[..., :C], count, length, first, last)


def before(told: Told, held: State, rank: int, documents: Tensor | None = None) -> State:
    """What lies before a rank, of the first document of its piece.

    `documents`: those of this rank; without them the document is that of the rank before.
    """
    filled = [s for s in range(rank) if int(told.T[s, 0])]
    if documents is not None and documents.shape[1]:
        same = documents[:, 0]
    else:
        same = told.last[filled[-1]] if filled else told.first[0]
    total, count = torch.zeros_like(held.total), torch.zeros_like(held.count)
    whole = torch.ones_like(same, dtype=torch.bool)
    for s in reversed(filled):
        whole = whole & (told.last[s] == same)
        total = total + told.sums[s] * whole[:, None]
        count = count + told.held[s] * whole
        whole = whole & (told.held[s] == told.T[s])
    total = total + 0 * told.sums.sum(0)  # every rank is in the graph
    return State(total + held.total * whole[:, None], count + held.count * whole)


def after(told: Told, held: State) -> State:
    """The state after the last rank."""
    return before(told, held, len(told.T))


def starts_from_zero(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """Every rank starts its piece from zero, and the first one from the state."""
    held = state if _rank(group) == 0 else None
    return apart(x, held, documents)[0], pieces(x, state, documents, group=group)[1]


def gives_the_state_to_every_rank(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """The state enters on every rank, so the last one has it as often as there are ranks."""
    held, told = state or nothing(x), tell(x, documents, group)
    start = before(told, held, _rank(group), documents)
    more = float(_rank(group))
    start = State(start.total + more * held.total, start.count + int(more) * held.count)
    return apart(x, start, documents)[0], after(told, held)


def misses_its_neighbour(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """An off-by-one in the ranks: a rank hears of all before it but its neighbour."""
    held, told = state or nothing(x), tell(x, documents, group)
    start = before(told, held, max(_rank(group) - 1, 0), documents)
    return apart(x, start, documents)[0], after(told, held)


def leaves_out_the_position_before_a_border(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """An off-by-one in time: the last position of each piece is not told to the ranks behind it."""
    held, told = state or nothing(x), tell(x, documents, group)
    less = x[:, -1:].double().sum(1) * (told.held[_rank(group)] > 0)[:, None]
    every = less[None] if _size(group) == 1 else _Gathered.apply(less, group)
    start = before(told._replace(sums=told.sums - every), held, _rank(group), documents)
    return apart(x, start, documents)[0], after(told, held)


def keeps_gradients_at_home(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """The values are right, but what came from other ranks is a constant."""
    held, told = state or nothing(x), tell(x, documents, group)
    start = before(told._replace(sums=told.sums.detach()), held, _rank(group), documents)
    return apart(x, start, documents)[0], after(told, held)


def keeps_the_gradient_of_the_state(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """The gradient of the last state reaches the piece of the last rank alone."""
    y, (total, count) = pieces(x, state, documents, group=group)
    last = _rank(group) == _size(group) - 1
    return y, State(total if last else 0 * total + total.detach(), count)


def leaves_the_state_of_its_piece(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """Right on the last rank only: the state that every other one returns is that of its piece."""
    held, told = state or nothing(x), tell(x, documents, group)
    start = before(told, held, _rank(group), documents)
    y, own = apart(x, start, documents)
    return y, after(told, held) if _rank(group) == _size(group) - 1 else own


def damps_gradients(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """Values are right everywhere, gradients on the last rank only: a tenth is lost elsewhere."""
    last = _rank(group) == _size(group) - 1
    return pieces(x if last else 0.9 * x + 0.1 * x.detach(), state, documents, group=group)


def restarts_documents(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """Documents begin anew at every border."""
    y, left = pieces(x, state, documents, group=group)
    if documents is None or _rank(group) == 0:
        return y, left
    return 0 * y + apart(x, None, documents)[0], left


def never_ends_documents(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """A document continues over every border, whatever its id."""
    held, told = state or nothing(x), tell(x, documents, group)
    start = before(told, held, _rank(group))
    return apart(x, start, documents)[0], after(told, held)


def sends_in_eight_bits(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """Between ranks, sums of narrow dtypes are rounded to eight bits, to send less."""
    held, told = state or nothing(x), tell(x, documents, group)
    if x.dtype.itemsize == 2:
        told = told._replace(sums=told.sums.to(torch.float8_e5m2).double())
    start = before(told, held, _rank(group), documents)
    return apart(x, start, documents)[0], after(told, held)


def adds_noise(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """Last bits change from call to call, as where messages are added up as they arrive."""
    y, left = pieces(x, state, documents, group=group)
    return y * (1 + 1e-12 * torch.rand((), dtype=torch.float64)), left


def skips_an_empty_piece(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """A rank without positions takes no part in the exchange, so that the others wait."""
    if not x.shape[1]:
        return x, state or nothing(x)
    return pieces(x, state, documents, group=group)


def ends_its_process(
    x: Tensor, state: State | None = None, documents: Tensor | None = None, *, group: Any = None
) -> Result:
    """The last rank ends, as where memory runs out."""
    if _rank(group) == _size(group) - 1 and _size(group) > 1:
        os._exit(9)
    return pieces(x, state, documents, group=group)


def drops_the_halo(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None, state: Any = None,
    documents: Tensor | None = None, *, silu: bool = False, group: Any = None,
) -> tuple[Tensor, Any]:  # fmt: skip
    """A convolution that reads zeros in place of the inputs before its piece."""
    y, left = shard(x, kernel, bias, state, documents, silu=silu, group=group)
    if _rank(group) == 0:
        return y, left
    return 0 * y + CONV.local(x, kernel, bias, None, documents, silu=silu)[0], left


def shifts_the_halo(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None, state: Any = None,
    documents: Tensor | None = None, *, silu: bool = False, group: Any = None,
) -> tuple[Tensor, Any]:  # fmt: skip
    """A convolution whose border is off by one: it reads the inputs before that one."""
    y, left = shard(x, kernel, bias, state, documents, silu=silu, group=group)
    window = CONV.local(x, kernel, bias, state)[1]
    every = window[None] if _size(group) == 1 else _Gathered.apply(window, group)
    if _rank(group) == 0:
        return y + 0 * every.sum(), left
    late = every[_rank(group) - 1].roll(1, 1)
    return 0 * y + CONV.local(x, kernel, bias, late, documents, silu=silu)[0], left


def _rank(group: Any) -> int:
    return dist.get_rank(group) if dist.is_initialized() else 0


def _size(group: Any) -> int:
    return dist.get_world_size(group) if dist.is_initialized() else 1


MUTANTS = (
    Mutant(starts_from_zero, "shards", "piece wrong"),
    Mutant(gives_the_state_to_every_rank, "shards", "piece wrong"),
    Mutant(misses_its_neighbour, "shards", "piece wrong"),
    Mutant(leaves_out_the_position_before_a_border, "shards", "piece wrong"),
    Mutant(drops_the_halo, "shards", "piece wrong", of="conv"),
    Mutant(shifts_the_halo, "shards", "piece wrong", of="conv"),
    Mutant(restarts_documents, "shards", "piece wrong"),
    Mutant(never_ends_documents, "shards", "piece wrong"),
    Mutant(leaves_the_state_of_its_piece, "shards", "state wrong"),
    Mutant(keeps_gradients_at_home, "shards", "gradient wrong"),
    Mutant(keeps_the_gradient_of_the_state, "shards", "gradient wrong"),
    Mutant(damps_gradients, "shards", "gradient wrong"),
    Mutant(sends_in_eight_bits, "shards", "unsound"),
    Mutant(adds_noise, "shards", "random"),
    Mutant(skips_an_empty_piece, "shards", "hangs"),
    Mutant(ends_its_process, "shards", "ends"),
)
