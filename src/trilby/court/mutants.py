"""Wrong running means: each has one fault, and names the law that must catch it.

A law that has never been seen to fail is decoration. These are what makes the laws of the court
fail; `MUTANTS` says which law is the first to break for each, in the order of the laws.
"""

from collections.abc import Callable
from itertools import count as counting
from typing import Any

import torch
from torch import Tensor

from ..mixers.mean import State
from .entitled import unit

Result = tuple[Tensor, State]

MUTANTS: dict[str, tuple[str, Callable[..., Result]]] = {}
"""Name -> (the first law that it breaks, the mutant)."""


def _breaks(law: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Enter a mutant under the law that must catch it."""

    def enter(mutant: Callable[..., Result]) -> Callable[..., Result]:
        MUTANTS[mutant.__name__] = (law, mutant)
        return mutant

    return enter


def healthy(x: Tensor, state: State | None = None) -> Result:
    """The running mean as it should be; every mutant differs from it in one thing."""
    total, count = state or _nothing(x)
    T = x.shape[1]
    sums = total[:, None] + x.double().cumsum(1)
    n = count[:, None] + torch.arange(1, T + 1, device=x.device)
    y = (sums / n[..., None]).to(x.dtype)
    return y, State(total + x.double().sum(1), count + T)


def _nothing(x: Tensor) -> State:
    B, _, C = x.shape
    total = x.new_zeros(B, C, dtype=torch.float64)
    return State(total, x.new_zeros(B, dtype=torch.int64))


def _plus(x: Tensor, state: State | None, more: Tensor) -> Result:
    y, left = healthy(x, state)
    return y + more.to(y.dtype), left


_calls = counting()


@_breaks("repeats")
def counts_its_calls(x: Tensor, state: State | None = None) -> Result:
    """A counter outlives the call and leaks into the result."""
    return _plus(x, state, torch.full_like(x, 1e-3 * next(_calls)))


@_breaks("repeats")
def remembers_the_last_call(x: Tensor, state: State | None = None, *, _kept: Any = []) -> Result:  # noqa: B006
    """A buffer of the call before is added, and never cleared."""
    old = _kept[0] if _kept else 0.0
    _kept[:] = [float(x.sum().detach())]
    return _plus(x, state, torch.full_like(x, old))


@_breaks("causal")
def adds_the_average_of_all(x: Tensor, state: State | None = None) -> Result:
    """A thousandth of the mean over time, the future included."""
    return _plus(x, state, 1e-3 * x.mean(1, keepdim=True))


@_breaks("causal")
def sees_without_a_gradient(x: Tensor, state: State | None = None) -> Result:
    """The same, detached: no certificate by gradients sees it."""
    return _plus(x, state, 1e-3 * x.detach().mean(1, keepdim=True))


@_breaks("causal")
def reads_one_ahead(x: Tensor, state: State | None = None) -> Result:
    """An off-by-one: position t reads t + 1."""
    return _plus(x, state, 0.1 * torch.cat([x[:, 1:], x[:, -1:]], 1))


@_breaks("causal")
def only_the_last_row_but_one_peeks(x: Tensor, state: State | None = None) -> Result:
    """One row of the triangle has one weight too many."""
    more = torch.zeros_like(x)
    more[:, -2:-1] = 0.1 * x[:, -1:]
    return _plus(x, state, more if x.shape[1] > 1 else torch.zeros_like(x))


@_breaks("causal")
def normalises_over_time(x: Tensor, state: State | None = None) -> Result:
    """Statistics over the whole sequence, as a norm over the wrong axis takes them."""
    return _plus(x, state, 1e-2 * x.square().mean(1, keepdim=True).sqrt())


@_breaks("causal")
def counts_the_whole_length(x: Tensor, state: State | None = None) -> Result:
    """A scale that depends on how long the sequence is, not on what is in it."""
    y, left = healthy(x, state)
    return y * (1 + 1 / (1 + x.shape[1])), left


@_breaks("causal")
def sees_the_sign_of_the_future(x: Tensor, state: State | None = None) -> Result:
    """A discrete leak: no gradient exists, only one bit of the future."""
    return _plus(x, state, 1e-2 * (x.sum(1, keepdim=True) > 0))


@_breaks("causal")
def leaks_after_64_positions(x: Tensor, state: State | None = None) -> Result:
    """Right in every short test: the mask is one block wide."""
    long = 1e-2 * x[:, 64:].sum(1, keepdim=True)
    return _plus(x, state, long.expand_as(x))


@_breaks("causal")
def leaks_at_the_size_of_rounding(x: Tensor, state: State | None = None) -> Result:
    """A future shared through rounding, as one scale for a whole block does."""
    y, left = healthy(x, state)
    if not x.shape[1]:
        return y, left
    return y + 4 * unit(x.abs().amax(1, keepdim=True), x.dtype).to(y.dtype), left


@_breaks("resumes")
def forgets_the_state(x: Tensor, state: State | None = None) -> Result:  # noqa: ARG001
    """Every call begins anew."""
    return healthy(x, None)


@_breaks("resumes")
def counts_twice(x: Tensor, state: State | None = None) -> Result:
    """The count that is returned has the sequence in it twice."""
    y, (total, count) = healthy(x, state)
    return y, State(total, count + x.shape[1])


@_breaks("resumes")
def returns_a_stale_state(x: Tensor, state: State | None = None) -> Result:
    """The state that came in goes out again."""
    return healthy(x, state)[0], state or _nothing(x)


@_breaks("resumes")
def loses_the_count(x: Tensor, state: State | None = None) -> Result:
    """The sum is carried on, the count is not."""
    y, (total, _) = healthy(x, state)
    return y, State(total, torch.full_like(_nothing(x)[1], x.shape[1]))


@_breaks("resumes")
def leaves_out_the_last_position(x: Tensor, state: State | None = None) -> Result:
    """The state is that before the last position."""
    y, _ = healthy(x, state)
    return y, healthy(x[:, :-1], state)[1]


@_breaks("resumes")
def ignores_the_state_of_one_position(x: Tensor, state: State | None = None) -> Result:
    """A fast path for one position that was written for the first one only."""
    return healthy(x, None if x.shape[1] == 1 else state)


@_breaks("isolated")
def averages_the_batch(x: Tensor, state: State | None = None) -> Result:
    """A share of the mean over the batch."""
    return _plus(x, state, 1e-2 * x.mean(0, keepdim=True))


@_breaks("isolated")
def normalises_by_the_batch(x: Tensor, state: State | None = None) -> Result:
    """Position by position, divided by what is largest in the batch."""
    return _plus(x, state, 1e-2 * x.detach().abs().amax(0, keepdim=True))


@_breaks("resumes")
def takes_the_first_row_s_state(x: Tensor, state: State | None = None) -> Result:
    """All rows go on from the state of row 0, in what they give and not in what they leave."""
    y, left = healthy(x, state)
    if state is None:
        return y, left
    first = State(state[0][:1].expand_as(state[0]), state[1])
    return healthy(x, first)[0], left


@_breaks("differentiates")
def detaches_the_past(x: Tensor, state: State | None = None) -> Result:
    """Right in value; the gradient stops at the state."""
    return healthy(x, None if state is None else State(state[0].detach(), state[1]))


@_breaks("differentiates")
def half_a_gradient(x: Tensor, state: State | None = None) -> Result:
    """Half of x is detached."""
    return healthy(0.5 * x + 0.5 * x.detach(), state)


class _Backwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
        return grad.flip(1)


@_breaks("causal")
def flips_its_gradient(x: Tensor, state: State | None = None) -> Result:
    """A custom backward that runs time the wrong way: the past has gradient to the future."""
    return healthy(_Backwards.apply(x), state)


@_breaks("differentiates")
def returns_no_gradient_of_the_state(x: Tensor, state: State | None = None) -> Result:
    """The state that comes back is cut off from what went in."""
    y, (total, count) = healthy(x, state)
    return y, State(total.detach(), count)


@_breaks("agrees")
def one_late(x: Tensor, state: State | None = None) -> Result:
    """Causal, and one position late."""
    late = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1) if x.shape[1] else x
    return healthy(late, state)[0], healthy(x, state)[1]


@_breaks("agrees")
def a_thousandth_too_large(x: Tensor, state: State | None = None) -> Result:
    """A factor of 1.001."""
    y, left = healthy(x, state)
    return 1.001 * y, left


@_breaks("agrees")
def wrong_from_the_65th(x: Tensor, state: State | None = None) -> Result:
    """One channel, after one block, in what it gives and not in what it leaves."""
    y, (total, count) = healthy(x, state)
    late = (count[:, None] - x.shape[1] + torch.arange(x.shape[1])) >= 64
    wrong = torch.where(late[..., None], 1e-3, 0.0).to(y.dtype)
    return y + torch.cat([wrong, torch.zeros_like(y[..., 1:])], -1), State(total, count)


@_breaks("agrees")
def weighs_the_count_wrongly(x: Tensor, state: State | None = None) -> Result:
    """Divides by one too many."""
    total, count = state or _nothing(x)
    y, left = healthy(x, State(total, count + 1))
    return y, State(left[0], left[1] - 1)


@_breaks("agrees")
def ends_in_nan(x: Tensor, state: State | None = None) -> Result:
    """NaN where a whole number of eight positions has been seen."""
    y, (total, count) = healthy(x, state)
    place = count[:, None] - x.shape[1] + torch.arange(1, x.shape[1] + 1)
    return torch.where((place % 8 == 0)[..., None], torch.nan, y), State(total, count)


@_breaks("sound")
def counts_in_bfloat16(x: Tensor, state: State | None = None) -> Result:
    """The positions are counted in the dtype of x: in bfloat16, 256 and 1 are 256."""
    total, count = state or _nothing(x)
    T = x.shape[1]
    most = 2 / torch.finfo(x.dtype).eps  # where adding 1 is lost to rounding
    n = (count[:, None] + torch.arange(1, T + 1)).double().clamp(max=most)
    sums = total[:, None] + x.double().cumsum(1)
    return (sums / n[..., None]).to(x.dtype), healthy(x, state)[1]


@_breaks("sound")
def adds_up_in_its_own_dtype(x: Tensor, state: State | None = None) -> Result:
    """Each sum is rounded to the dtype of x before the next is added."""
    total, count = state or _nothing(x)
    sums, y = total.to(x.dtype), []
    for t, now in enumerate(x.unbind(1), 1):
        sums = sums + now
        y.append((sums.double() / (count[:, None] + t)).to(x.dtype))
    return torch.stack(y, 1) if y else x.clone(), healthy(x, state)[1]


@_breaks("sound")
def multiplies_before_it_divides(x: Tensor, state: State | None = None) -> Result:
    """Right on paper; the product overflows where the mean does not."""
    return healthy((x * 16) / 16, state)


@_breaks("compiles")
def branches_on_a_value(x: Tensor, state: State | None = None) -> Result:
    """`.item()` in the middle: the graph breaks."""
    y, left = healthy(x, state)
    return (y * 1 if float(x.detach().double().sum()) == 0 else y), left


@_breaks("compiles")
def differs_when_compiled(x: Tensor, state: State | None = None) -> Result:
    """Another branch while `torch.compile` traces."""
    y, left = healthy(x, state)
    return (y + 1e-2 if torch.compiler.is_compiling() else y), left
