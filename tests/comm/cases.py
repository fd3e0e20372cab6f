"""Sequences in pieces on several ranks, compared with the definition on the whole of them.

What is here runs on every rank of a group. Every rank draws the whole sequence from one seed, gives
its own piece to `shard`, and compares its part of y, the state and all gradients.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from trilby.card import Mixer
from trilby.mixers import MIXERS

T = 11
CLOSE = 1e-11
"""Of numbers around 1 in float64: right results differ by 1e-15, and wrong ones by far more."""
SPLITS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((11,),),
    2: ((6, 5), (1, 10), (0, 11), (11, 0)),
    3: ((4, 4, 3), (1, 1, 9), (0, 5, 6), (6, 0, 5), (9, 2, 0), (0, 11, 0)),
    4: ((3, 3, 3, 2), (1, 1, 1, 8), (0, 0, 6, 5), (5, 0, 0, 6), (4, 7, 0, 0), (1, 0, 9, 1)),
    5: ((3, 2, 2, 2, 2), (1, 1, 1, 1, 7), (2, 0, 3, 0, 6)),
}
IDS = (  # rows of documents: borders of pieces inside, at the beginning and at the end of them
    [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2],
    [5] * T,
    [*range(T)],
    [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
)
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "ema": ({}, {"adjust": True}),
    "linear": ({}, {"normalize": False}),
    "conv": ({"silu": True},),
    "attention": ({}, {"window": 3}, {"window": 1}, {"cap": 2.0}),
}


class Case(NamedTuple):
    """One call: a mixer, how time is split, and what else it is given."""

    mixer: str
    split: tuple[int, ...]
    past: bool
    packed: bool
    options: dict[str, Any]
    shared: bool = False

    def __str__(self) -> str:
        more = [name for name in ("past", "packed", "shared") if getattr(self, name)]
        return " ".join(map(str, (self.mixer, self.split, *more, self.options)))


def every(size: int, few: bool = False) -> Iterator[Case]:
    """All cases of a group of this size, with and without a past and documents.

    A few of them are those with both, and of every mixer's options the first ones.
    """
    if few:
        whole = (c for c in every(size) if c.packed and c.past and not c.shared)
        yield from (c for c in whole if c.options == OPTIONS.get(c.mixer, ({},))[0])
        return
    for name, mixer in MIXERS.items():
        for options in OPTIONS.get(name, ({},)):
            for split in SPLITS[size]:
                yield Case(name, split, False, False, options)
                yield Case(name, split, True, True, options)
            yield Case(name, SPLITS[size][0], True, False, options)
            yield Case(name, SPLITS[size][0], False, True, options)
        if mixer.contract.shared:
            yield Case(name, SPLITS[size][0], True, True, {}, shared=True)


class Call(NamedTuple):
    """The whole sequence of a case: leaves that want gradients, and what goes with them."""

    mixer: Mixer[..., Any]
    given: dict[str, Any]
    past: Any
    documents: Tensor | None
    options: dict[str, Any]


def drawn(case: Case, dtype: torch.dtype = torch.float64) -> Call:
    """The arguments of a case, equal on every rank."""
    mixer, B = MIXERS[case.mixer], len(IDS)
    given = mixer.contract.named(mixer.drawn(B=B, T=T, C=4, seed=3, dtype=dtype))
    if case.shared:  # two heads for four
        first = next(n for n in mixer.contract.sequences if n in ("k", "s"))
        given[first] = given[first][:, :, :2].contiguous()
    past = None
    if case.past:
        earlier = mixer.drawn(B=B, T=3, C=4, seed=9, dtype=dtype)
        earlier = mixer.contract.named(earlier) | _parameters(mixer, given)
        if case.shared:
            earlier[first] = earlier[first][:, :, :2]
        past = mixer.loop(*earlier.values(), **case.options)[1]
    documents = torch.tensor(IDS) if case.packed else None
    return Call(mixer, given, past, documents, case.options)


def _parameters(mixer: Mixer[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    return {n: v for n, v in given.items() if n not in mixer.contract.sequences}


def leaves(call: Call, now: slice = slice(None)) -> tuple[dict[str, Any], Any, dict[str, Tensor]]:
    """Fresh arguments of some positions, a fresh state, and those of them that are real."""
    real: dict[str, Tensor] = {}

    def fresh(name: str, x: Any) -> Any:
        if isinstance(x, Tensor) and x.is_floating_point():
            real[name] = x = x.detach().clone().requires_grad_()
        return x

    names = call.mixer.contract.sequences
    given = {n: fresh(n, x[:, now] if n in names else x) for n, x in call.given.items()}
    parts = call.mixer.contract.state
    past = call.past
    if past is not None:
        past = parts.filled({n: fresh(f"state {n}", x) for n, x in parts.tensors(past).items()})
    return given, past, real


def results(call: Call, y: Tensor, state: Any, at: slice, shares: list[int]) -> dict[str, Tensor]:
    """y and the tensors of the state; and, as "loss", a number that depends on all of them.

    Args:
        at: which positions y is of.
        shares: the ranks whose part of the loss of the state is wanted; all have a part.
    """
    rng = torch.Generator().manual_seed(5)
    sizes = [*y.shape]
    sizes[1] = T
    weight = torch.randn(sizes, generator=rng, dtype=torch.float64)[:, at]
    loss = (y.double() * weight).sum()
    found = {f"after {n}": x for n, x in call.mixer.contract.state.tensors(state).items()}
    for rank in shares:
        for x in found.values():
            if x.is_floating_point():
                rng = torch.Generator().manual_seed(rank)
                weight = torch.randn(x.shape, generator=rng, dtype=torch.float64)
                loss = loss + (x.double() * weight).sum()
    return {"y": y, **found, "loss": loss}


def whole(call: Call, size: int, form: str = "loop") -> dict[str, Tensor]:
    """What one process computes, gradients by "d name"."""
    given, past, real = leaves(call)
    way = call.mixer.form(form)
    y, state = way(*given.values(), state=past, documents=call.documents, **call.options)
    found = results(call, y, state, slice(None), [*range(size)])
    found["loss"].backward()
    return _with_gradients(found, real)


def piece(call: Call, split: tuple[int, ...]) -> dict[str, Tensor]:
    """What this rank computes of its piece. What every rank holds has the sum of its gradients."""
    rank = dist.get_rank()
    at = slice(sum(split[:rank]), sum(split[: rank + 1]))
    given, past, real = leaves(call, at)
    documents = None if call.documents is None else call.documents[:, at]
    y, state = call.mixer.shard(*given.values(), state=past, documents=documents, **call.options)
    found = results(call, y, state, at, [rank])
    found["loss"].backward()
    found = _with_gradients(found, real)
    for name, dx in found.items():
        if name.startswith("d ") and name[2:] not in call.mixer.contract.sequences:
            dist.all_reduce(dx)
    return found


def _with_gradients(found: dict[str, Tensor], real: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the loss, and with gradients; one that is missing is NaN."""
    del found["loss"]
    found = {n: x.detach() for n, x in found.items()}
    for name, x in real.items():
        found[f"d {name}"] = torch.full_like(x, torch.nan) if x.grad is None else x.grad
    return found


def wrong(case: Case) -> list[str]:
    """What this rank computes otherwise than one process; empty if all is right."""
    call, split = drawn(case), case.split
    want, got = whole(call, len(split)), piece(call, split)
    rank, found = dist.get_rank(), []
    at = slice(sum(split[:rank]), sum(split[: rank + 1]))
    for name, x in want.items():
        x = x[:, at] if name == "y" or name[2:] in call.mixer.contract.sequences else x
        if x.shape != got[name].shape or x.dtype != got[name].dtype:
            found.append(f"{case}: rank {rank}, {name}: {list(got[name].shape)} {list(x.shape)}")
        elif x.numel():
            off = float((got[name].double() - x.double()).abs().max())
            size = max(1.0, float(x.double().abs().max()))
            if not off <= CLOSE * size:
                found.append(f"{case}: rank {rank}, {name}: off by {off:.2g}")
    return found


def all_wrong(few: bool = False) -> list[str]:
    """What is wrong on this rank in any case, or in a few."""
    return [line for case in every(dist.get_world_size(), few) for line in wrong(case)]
