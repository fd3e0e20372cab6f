"""Attention whose keys pass round a ring, compared with the definition in one process.

What is here runs on every rank of a group; each draws the whole from one seed.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import trilby
from tests.comm.cases import CLOSE, IDS, SPLITS
from trilby.algebra.ring import filled, ordered
from trilby.comm import counted, dealing, formula, ring

K, V, H, S, T = 3, 5, 4, 4, 11
PAIRS = {"ring": 10**9, "even": -(10**9)}
"""How the triangle is shared out -> how many pairs of a query and a key an exchange has to save."""
SOME = torch.Generator().manual_seed(7)
BIAS = [torch.randn(H, generator=SOME, dtype=torch.float64) for _ in range(2)]
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"window": 5},
    {"cap": 2.0},
    {"sinks": BIAS[0], "slopes": BIAS[1].abs()},
)


class Case(NamedTuple):
    """One call: how time is split, heads of k and v, what else it is given, and how it is dealt."""

    split: tuple[int, ...]
    G: int
    past: bool
    packed: bool
    options: dict[str, Any]
    slots: int
    way: str


def every(size: int, few: bool) -> Iterator[Case]:
    """All cases of a group of this size, or those of its first split that have a past."""
    splits = SPLITS[size][:2] if few else SPLITS[size]
    for split, G, past, packed in itertools.product(splits, (H, 2), (False, True), (False, True)):
        for i, options in enumerate(OPTIONS):
            if few and (past, packed, G) not in ((True, i % 2 == 1, 2), (False, False, H)):
                continue
            for way in ("ring",) if "window" in options else ("ring", "even"):
                yield Case(split, G, past, packed, options, 0 if i % 2 else 3, way)


def fresh(x: Any) -> Any:
    """A leaf that wants a gradient; what is no tensor stays."""
    return x.detach().clone().requires_grad_() if isinstance(x, Tensor) else x


class Drawn(NamedTuple):
    """The arguments of a case, as leaves."""

    given: list[Tensor]  # q, k, v
    past: Any
    documents: Tensor | None
    options: dict[str, Any]

    def real(self) -> dict[str, Tensor]:
        """All that have gradients, by name; q, k and v first."""
        found = dict(zip("qkv", self.given, strict=True))
        if self.past is not None:
            found |= {"keys": self.past.keys, "values": self.past.values}
        return found | {n: x for n, x in self.options.items() if isinstance(x, Tensor)}


def drawn(case: Case, at: slice, seed: int = 0) -> Drawn:
    """Some positions of a case."""
    torch.manual_seed(seed)
    sizes = (H, K), (case.G, K), (case.G, V)
    given = [torch.randn(2, T, *size, dtype=torch.float64)[:, at] for size in sizes]
    before = [torch.randn(2, S, *size, dtype=torch.float64) for size in sizes]
    past = trilby.attention.loop(*before)[1] if case.past else None
    if past is not None:
        past = past._replace(keys=fresh(past.keys), values=fresh(past.values))
    documents = torch.tensor(IDS[:2])[:, at] if case.packed else None
    options = {n: fresh(x) for n, x in case.options.items()}
    return Drawn([fresh(x) for x in given], past, documents, options)


def weight(*sizes: int) -> Tensor:
    """What a result counts in a loss."""
    return torch.randn(sizes, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def whole(case: Case, ranks: int) -> dict[str, Tensor]:
    """What one process computes; the state on every rank has a part in the loss."""
    call = drawn(case, slice(None))
    y, state = trilby.attention.loop(*call.given, call.past, call.documents, **call.options)
    slots = min(case.slots, state.keys.shape[1])
    keys, values = filled(ordered(state[:2], state.count), state.count, slots)
    (ranks * (keys.sum() + 2 * values.sum()) + (y * weight(*y.shape)).sum()).backward()
    found = {"y": y, "state keys": keys, "state values": values, "count": state.count}
    return found | {f"d {n}": x.grad for n, x in call.real().items()}


def piece(case: Case, at: slice) -> dict[str, Tensor]:
    """What this rank computes; of what every rank holds gradients are added up."""
    call = drawn(case, at)
    named = dict(documents=call.documents, slots=case.slots, **call.options)
    y, state = trilby.attention.shard(*call.given, call.past, **named)
    loss = (y * weight(2, T, H, V)[:, at]).sum() + state.keys.sum() + 2 * state.values.sum()
    loss.backward()
    found = {"y": y, "state keys": state.keys, "state values": state.values, "count": state.count}
    for name, x in call.real().items():
        found[f"d {name}"] = torch.zeros_like(x) if x.grad is None else x.grad
        if name not in "qkv":
            dist.all_reduce(found[f"d {name}"])
    return found


def wrong(few: bool = False) -> Iterator[str]:
    """What this rank computes otherwise than one process."""
    rank = dist.get_rank()
    for case in every(dist.get_world_size(), few):
        at = slice(sum(case.split[:rank]), sum(case.split[: rank + 1]))
        with mock.patch.object(dealing, "PAIRS", PAIRS[case.way]):
            want, got = whole(case, len(case.split)), piece(case, at)
        for name, x in want.items():
            x = x[:, at] if name in ("y", "d q", "d k", "d v") else x
            if x.shape != got[name].shape:
                yield f"{case}: {name} is {list(got[name].shape)}, expected {list(x.shape)}"
            elif x.numel() and not (off := float((got[name] - x).detach().abs().max())) <= CLOSE:
                yield f"{case}: {name} is off by {off:.2g}"


def traffic() -> Iterator[str]:
    """What is sent round the ring is that of the formula; how time is split may vary."""
    size, rank = dist.get_world_size(), dist.get_rank()
    for split, way, dtype in itertools.product(
        SPLITS[size], PAIRS, (torch.float64, torch.bfloat16)
    ):
        sizes = dict(B=2, H=H, G=2, K=K, V=V)
        for slots, window in ((0, None), (3, None), (0, 6)):
            call = formula.Call(trilby.attention.contract, sizes, split, dtype, slots=slots)
            call = call._replace(window=window)
            with mock.patch.object(dealing, "PAIRS", PAIRS[way]):
                want, got = formula.sent(call, rank), measured(call)
            if got != want:
                yield f"{call} {way}: {got}, the formula says {want}"


def measured(call: formula.Call) -> tuple[Any, Any]:
    """What this rank sends for a call, and on the way back."""
    n, heads = call.lengths[dist.get_rank()], (H, call.sizes["G"], call.sizes["G"])
    given = [torch.randn(2, n, h, d, dtype=call.dtype).requires_grad_()
             for h, d in zip(heads, (K, K, V), strict=True)]  # fmt: skip
    with counted() as there:
        y, _ = trilby.attention.shard(*given, window=call.window, slots=call.slots)
    with counted() as back:
        y.sum().backward()
    return there, back


class Largest(TorchDispatchMode):
    """Remembers how many bytes the largest result of any operation has, in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for x in found if isinstance(found, tuple | list) else (found,):
            if isinstance(x, Tensor):
                self.bytes = max(self.bytes, x.numel() * x.element_size())
        return found


def memory() -> Iterator[str]:
    """In a ring a rank never makes a tensor as large as all keys; where they are gathered it does.

    With three ranks or more, as a message has the keys and the values of a piece.
    """
    size, n, D = dist.get_world_size(), 40, 64
    held = {}
    for way, slots in (("ring", 0), ("even", 0), ("gather", None)):
        torch.manual_seed(0)
        q, k, v = (torch.randn(1, n, 1, D).requires_grad_() for _ in range(3))
        with mock.patch.object(dealing, "PAIRS", PAIRS.get(way, 0)), Largest() as largest:
            y, _ = trilby.attention.shard(q, k, v, slots=slots)
            y.sum().backward()
        held[way] = largest.bytes
    every = 4 * size * n * D
    if size > 2 and not max(held["ring"], held["even"]) < every <= held["gather"]:
        yield f"bytes of the largest tensor: {held}, of all keys {every}"


def unwanted() -> Iterator[str]:
    """A rank that wants no gradients takes part, and the others get what is theirs."""
    size, rank = dist.get_world_size(), dist.get_rank()
    case = Case(SPLITS[size][0], 2, False, False, {}, 0, "even")
    at = slice(sum(case.split[:rank]), sum(case.split[: rank + 1]))
    call = drawn(case, at)
    for x in call.given:
        x.requires_grad_(rank != 1)
    with mock.patch.object(dealing, "PAIRS", PAIRS["even"]):
        y, _ = trilby.attention.shard(*call.given, slots=0)
        (y * weight(2, T, H, V)[:, at]).sum().backward()
    for name, x in call.real().items():
        want = whole(case, size)[f"d {name}"][:, at]
        if rank == 1:
            if x.grad is not None:
                yield f"d {name} on a rank that wants none"
        elif not float((x.grad - want).abs().max()) <= CLOSE:
            yield f"d {name}: off"


def in_halves() -> Iterator[str]:
    """In bfloat16 a ring is as near as one process to the float64 answer, and so are gradients."""
    size, rank = dist.get_world_size(), dist.get_rank()
    torch.manual_seed(1)
    n = 300  # more than one block of scores
    every = [torch.randn(1, size * n, H, 16).bfloat16() for _ in range(3)]
    at = slice(rank * n, (rank + 1) * n)

    def results(given: list[Tensor], form: str, **how: Any) -> list[Tensor]:
        given = [fresh(x) for x in given]
        y, _ = trilby.attention(*given, form=form, **how)
        y.sum().backward()
        return [y.detach(), *(x.grad for x in given)]

    exact = [x[:, at] for x in results([x.double() for x in every], "chunk")]
    known = [x[:, at].double() for x in results(every, "fused")]
    for way, pairs in PAIRS.items():
        with mock.patch.object(dealing, "PAIRS", pairs):
            got, again = (results([x[:, at] for x in every], "shard", slots=0) for _ in range(2))
        if not all(torch.equal(a, b) for a, b in zip(got, again, strict=True)):
            yield f"{way}: two calls differ"
        for name, a, b, c in zip(("y", "d q", "d k", "d v"), exact, known, got, strict=True):
            off, one = ((x.double() - a).abs().max() for x in (c, b))
            if c.dtype != torch.bfloat16 or not off <= 2 * one + 2**-8 * a.abs().max():
                yield f"{way}: {name} is off by {off:.2g}, in one process by {one:.2g}"


def _nothing(self: ring.Ring, owner: int, found: Any) -> Any:
    """Gradients of keys that do not come home."""
    home = _home(self, owner, found)
    return home if owner == self.rank else [0 * x for x in home]


def _not_back(self: ring.Ring, tensors: Any, back: bool = False) -> list[Tensor]:
    """Results of the halves that others computed are zeros."""
    found = _swapped(self, tensors, back)
    if not back or self.deal.partner(self.rank) is None:
        return found
    n = self.deal.lengths[self.rank] // 2
    return [torch.cat([x[:, : x.shape[1] - n], 0 * x[:, x.shape[1] - n :]], 1) for x in found]


def _own_place(self: ring.Ring, looks: Any, owner: int, block: Any) -> Iterator[Any]:
    """Keys of others that are taken for the latest ones."""
    for i, look, start, here in _met(self, looks, owner, block):
        yield i, look._replace(place=look.place * (owner == self.rank)), start, here


_home, _swapped, _met = ring.Ring.home, ring.Ring.swapped, ring.Ring.met
MUTANTS = {"home": _nothing, "swapped": _not_back, "met": _own_place}
"""What of a `Ring` is replaced, and by what; each has to be seen."""


def missed() -> Iterator[str]:
    """Mutants that no rank finds wrong."""
    for name, instead in MUTANTS.items():
        with mock.patch.object(ring.Ring, name, instead):
            right = torch.tensor([not [*wrong(few=True)]])
        dist.all_reduce(right, dist.ReduceOp.MIN)
        if right:
            yield f"{instead.__doc__} is not caught"


def all_wrong(few: bool = False) -> list[str]:
    """What is wrong on this rank."""
    found = [f"ring: {line}" for line in wrong(few)]
    if dist.get_world_size() > 1:
        probes = (traffic, memory, unwanted, in_halves, missed)
        found += [f"{probe.__name__} of a ring: {line}" for probe in probes for line in probe()]
    return found
