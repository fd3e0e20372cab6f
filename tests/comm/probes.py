"""What else is asked of ranks that share a sequence.

Each probe returns what is wrong on its rank.
"""

import inspect
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

import trilby
from tests.comm.cases import OPTIONS, SPLITS, Case, drawn, leaves, piece, results, whole, wrong
from trilby.comm import Traffic, chain, counted, formula
from trilby.comm.formula import sent
from trilby.errors import TrilbyError

LINEAR = ("mean", "decay", "ema", "weighted", "linear", "delta", "kda", "selective")


def _here(size: int) -> slice:
    rank, split = dist.get_rank(), SPLITS[size][0]
    return slice(sum(split[:rank]), sum(split[: rank + 1]))


def _differ(told: str, one: Tensor, two: Tensor, close: float = 1e-11) -> list[str]:
    off = float((one.double() - two.double()).detach().abs().max()) if one.numel() else 0.0
    return [] if off <= close else [f"{told}: off by {off:.2g}"]


def ordinary_calls() -> Iterator[str]:
    """Inside `trilby.sharded` an ordinary call takes the form, by a group and by a mesh."""
    size = dist.get_world_size()
    x = torch.randn(2, 11, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    want, at = trilby.mean(x)[0], _here(size)
    mesh = init_device_mesh("cpu", (1, size), mesh_dim_names=("data", "sequence"))
    for group, dim in ((dist.group.WORLD, None), (mesh, "sequence"), (mesh["sequence"], None)):
        with trilby.sharded(group, dim):
            yield from _differ("sharded", trilby.mean(x[:, at])[0], want[:, at])
            alone, _ = trilby.mean(x[:, at], form="scan")
    yield from _differ("a form by name", alone, trilby.mean(x[:, at])[0])
    yield from _differ(
        "group=mesh", trilby.mean.shard(x[:, at], group=mesh["sequence"])[0], want[:, at]
    )
    q, k, v, g = trilby.decay.draw(T=11, dtype=torch.float64)
    one = torch.zeros(2, 2, 3, 4, dtype=torch.float64)
    want = trilby.decay(q, k, v, g, one)[1]
    with trilby.sharded(mesh, "sequence"):
        trilby.decay.advance(q[:, at], k[:, at], v[:, at], g[:, at], state=one)
    yield from _differ("advance", one, want)
    half = dist.new_group([0])
    if dist.get_rank():
        yield from _raises(
            lambda: trilby.mean.shard(x, group=dist.GroupMember.NON_GROUP_MEMBER), "group"
        )
    else:
        yield from _differ("a group of one", trilby.mean.shard(x, group=half)[0], trilby.mean(x)[0])


def repeated() -> Iterator[str]:
    """Two calls give the same bits, gradients too."""
    split = SPLITS[dist.get_world_size()][0]
    for name in (*LINEAR, "conv", "attention"):
        case = Case(name, split, True, True, {})
        one, two = piece(drawn(case), split), piece(drawn(case), split)
        yield from (f"{case}: {n} changes" for n in one if not torch.equal(one[n], two[n]))


def in_bfloat16() -> Iterator[str]:
    """Its errors are at most twice those of one process, and one unit of rounding."""
    split = SPLITS[dist.get_world_size()][0]
    at = _here(len(split))
    for name in (*LINEAR, "conv", "attention"):
        call = drawn(Case(name, split, True, True, {}), torch.bfloat16)
        sharp = call._replace(given={n: _fine(x) for n, x in call.given.items()})
        parts = call.mixer.contract.state
        past = parts.filled({n: _fine(x) for n, x in parts.tensors(call.past).items()})
        exact, one = whole(sharp._replace(past=past), len(split)), whole(call, len(split), "fused")
        for n, got in piece(call, split).items():
            cut = n == "y" or n[2:] in call.mixer.contract.sequences
            a, b = (x[:, at].double() if cut else x.double() for x in (exact[n], one[n]))
            off, known = ((x.double() - a).abs().max() for x in (got, b))
            unit = torch.finfo(got.dtype).eps if got.is_floating_point() else 0
            if not off <= 2 * known + unit * a.abs().max():
                yield f"{name}: {n} is off by {off:.2g}, in one process by {known:.2g}"


def _fine(x: Any) -> Any:
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


def gradients_of_some() -> Iterator[str]:
    """Ranks that want no gradients, or other ones, hold up no other and get what is theirs."""
    rank, split = dist.get_rank(), SPLITS[dist.get_world_size()][0]
    for name in (*LINEAR, "conv", "attention"):
        call = drawn(Case(name, split, True, False, {}))
        want = whole(call, len(split))
        given, past, real = leaves(call, _here(len(split)))
        first = call.mixer.contract.sequences[0] if name != "selective" else "x"
        for n, x in real.items():
            x.requires_grad_(rank != 1 and n == first)  # nothing of rank 1
        y, state = call.mixer.shard(*given.values(), state=past, **call.options)
        loss = results(call, y, state, _here(len(split)), [rank])["loss"]
        if rank == 1:
            loss.backward()
        else:
            (dx,) = torch.autograd.grad(loss, [real[first]])
            yield from _differ(f"{name}: d {first}", dx, want[f"d {first}"][:, _here(len(split))])
    x = torch.ones(1, 2, 1, dtype=torch.float64, requires_grad=True)
    y, (total, _) = trilby.mean.shard(x)
    (total if rank else y).sum().backward()  # a loss of y alone, of the state alone
    if not bool(x.grad.isfinite().all()):
        yield "no gradient"
    y, _ = trilby.mean.shard(x)
    y += 1  # as the result of an ordinary call
    y.sum().backward()
    with torch.no_grad():
        if trilby.mean.shard(x)[0].requires_grad:
            yield "a graph without gradients"


def traffic() -> Iterator[str]:
    """Messages and bytes are those of the formula, and of linear-time mixers independent of T."""
    size, told = dist.get_world_size(), {}
    for name in (*LINEAR, "conv", "attention"):
        splits = [(3,) * size, (0, 9, *[2] * size)[:size], (50,) * size][: None if size > 1 else 1]
        for lengths, packed in itertools.product(splits, (False, True)):
            call = _sizes(name, lengths, torch.float64, packed)
            found = told[name, lengths, packed] = _measured(call)
            yield from _counts(f"{name} {lengths}", found, sent(call, dist.get_rank()))
        if name in LINEAR and told[name, splits[0], True] != told[name, splits[-1], True]:
            yield f"{name}: what is sent depends on T"
    for name in ("conv", "attention"):  # the sums of their states are wider than these
        call = _sizes(name, (4,) * size, torch.bfloat16, False)
        yield from _counts(f"{name} bfloat16", _measured(call), sent(call, dist.get_rank()))


def chained() -> Iterator[str]:
    """States that go from rank to rank, block by block, give the same, in as many bytes as said."""
    size = dist.get_world_size()
    with mock.patch.object(chain, "LONG", 0), mock.patch.object(chain, "CHANNELS", 2):
        for name in LINEAR:
            for options in OPTIONS.get(name, ({},)):
                for split in SPLITS[size][:3]:
                    yield from wrong(Case(name, split, True, True, options))
                yield from wrong(Case(name, SPLITS[size][0], False, False, options))
            if trilby.MIXERS[name].contract.shared:
                yield from wrong(Case(name, SPLITS[size][0], True, False, {}, shared=True))
            call = _sizes(name, (5,) * size, torch.float64, False)
            call = call._replace(sizes=call.sizes | {"B": 1})
            blocks = len(call.cut().bounds)
            if (blocks > 1) != (size == 2 and name not in chain.WHOLE):  # two heads, four channels
                yield f"{name}: {blocks} blocks on {size} ranks"
            yield from _counts(f"{name} in blocks", _measured(call), sent(call, dist.get_rank()))
            yield from _in_blocks(name, call)


def _in_blocks(name: str, call: formula.Call) -> Iterator[str]:
    """Blocks of heads or channels: values and gradients, against the loop."""
    mixer, rank = trilby.MIXERS[name], dist.get_rank()
    given = mixer.draw(T=sum(call.lengths), dtype=call.dtype, **call.sizes)
    one = [x.clone().requires_grad_() for x in given]
    want = mixer.loop(*one)[0]
    (want**2).sum().backward()
    at, names = slice(5 * rank, 5 * rank + 5), mixer.contract.sequences
    timed = [n in names for n in mixer.contract.arguments][: len(given)]
    mine = [
        (x[:, at] if t else x).clone().requires_grad_() for x, t in zip(given, timed, strict=True)
    ]
    y, _ = mixer.shard(*mine)
    (y**2).sum().backward()
    with torch.no_grad():
        again, _ = mixer.shard(*mine)
    yield from _differ(f"{name} in blocks", y, want[:, at])
    yield from _differ(f"{name} in blocks, without a graph", again, want[:, at])
    for x, other, t in zip(mine, one, timed, strict=True):
        dx, whole = x.grad, other.grad
        if t:
            whole = whole[:, at]
        else:
            dist.all_reduce(dx)
        yield from _differ(f"{name} in blocks, gradient", dx, whole, 1e-9)


def _sizes(name: str, lengths: tuple[int, ...], dtype: Any, packed: bool) -> formula.Call:
    known, mixer = dict(B=2, H=2, K=3, V=4, C=4, N=3, W=4), trilby.MIXERS[name]
    sizes = {n: known[n] for n in inspect.signature(mixer.draw).parameters if n in known}
    return formula.Call(mixer.contract, sizes, lengths, dtype, packed)


def _measured(call: formula.Call) -> tuple[Traffic, Traffic]:
    """What this rank sends for a call, and on the way back."""
    mixer, n = trilby.MIXERS[call.contract.name], call.lengths[dist.get_rank()]
    sizes = {letter: x for letter, x in call.sizes.items() if letter != "G"}
    given = [x.requires_grad_() for x in mixer.draw(T=n, dtype=call.dtype, **sizes)]
    documents = torch.zeros(sizes["B"], n, dtype=torch.int64) if call.documents else None
    with counted() as there:
        y, _ = mixer.shard(*given, documents=documents)
    with counted() as back:
        y.sum().backward()
    return there, back


def _counts(told: str, got: Any, want: Any) -> list[str]:
    return [] if got == want else [f"{told}: {got}, the formula says {want}"]


def disagreements() -> Iterator[str]:
    """Ranks that make other calls: every one of them says who and how, and none waits."""
    other = dist.get_rank() == 1
    for told, call in DISAGREEMENTS.items():
        yield from _raises(partial(call, other), told)
    told = (
        "mean.shard: x is int64" if other else "mean.shard: rank 1 cannot make the call: mean.sha"
    )
    yield from _raises(lambda: trilby.mean.shard(X.long() if other else X), told)
    falling = torch.full((2, 3), 9 - dist.get_rank())
    yield from _raises(lambda: trilby.mean.shard(X, documents=falling), FALLS)


def _of_version(number: str) -> Any:
    with mock.patch("trilby.comm.agreement.version", return_value=number):
        return trilby.mean.shard(X)


def _graphless(other: bool) -> Any:
    with torch.set_grad_enabled(not other):
        return trilby.mean.shard(X)


X = torch.ones(2, 3, 4)
IDS = torch.zeros(2, 3, dtype=torch.int64)
FALLS = (
    "mean.shard: documents falls from 9 at the end of rank 0 to 8 at the beginning of rank 1, in "
    "row 0; ids never decrease along a row, number them over all ranks"
)
DISAGREEMENTS: dict[str, Callable[[bool], Any]] = {
    "mean.shard: x is [2, T, 4] float32 on rank 0 and [2, T, 3] float32 on rank 1; every rank of "
    "the group has to make the same call, on pieces that differ in T alone": (
        lambda other: trilby.mean.shard(X[..., :3] if other else X)
    ),
    "x is [2, T, 4] float32 on rank 0 and [2, T, 4] float64 on rank 1": (
        lambda other: trilby.mean.shard(X.double() if other else X)
    ),
    "call is mean.shard on rank 0 and ema.shard on rank 1": (
        lambda other: trilby.ema.shard(X, 0.5) if other else trilby.mean.shard(X)
    ),
    "mean.shard: trilby is 0.0.2 on rank 0 and 0.0.1 on rank 1; every rank of the group": (
        lambda other: _of_version("0.0.1" if other else "0.0.2")
    ),
    "ema.shard: a is 0.25 on rank 0 and 0.5 on rank 1": (
        lambda other: trilby.ema.shard(X, 0.5 if other else 0.25)
    ),
    "documents is not given on rank 0 and given on rank 1": (
        lambda other: trilby.mean.shard(X, documents=IDS if other else None)
    ),
    "state is None on rank 0 and [2, 4] float64, [2] int64 on rank 1": (
        lambda other: trilby.mean.shard(X, trilby.mean(X)[1] if other else None)
    ),
    "gradients is enabled on rank 0 and disabled on rank 1": _graphless,
}
"""What each rank says -> a call, of which rank 1 makes another one."""


def _raises(call: Callable[[], Any], told: str, kind: type[TrilbyError] = TrilbyError) -> list[str]:
    try:
        call()
    except kind as error:
        return [] if told in str(error) else [f"{error}"]
    return [f"no error: {told}"]


ALONE = (ordinary_calls, repeated, in_bfloat16, traffic)
PROBES = {p.__name__: p for p in (*ALONE, chained, gradients_of_some, disagreements)}
"""All of them; those that are not in `ALONE` need a second rank."""


def all_probes(*names: str) -> list[str]:
    """What is wrong on this rank."""
    size = dist.get_world_size()
    probes = [p for p in PROBES.values() if size > 1 or p in ALONE]
    asked = [p for p in probes if not names or p.__name__ in names]
    return [f"{probe.__name__}: {line}" for probe in asked for line in probe()]
