"""What the law `shards` is applied to: a function that ranks call, and one of the whole."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...card import Mixer
from ...errors import CallError
from ..comparing.finding import NotRun
from ..copies.nested import convert, numbers
from ..sizes import Setting
from ..subjects.drawing import alike
from ..subjects.example import Example, signature
from ..subjects.paths import Path, arrays, named
from ..subjects.reading import Asked, read_example
from ..subjects.subject import Subject
from ..wording import label
from .case import Case, Found, alone, on_rank, whole
from .processes import Answer, Processes

GROUPS = ("group", "process_group")
"""Keywords by which a function takes the group."""
PAST = 3  # positions behind the state that a mixer starts from


@dataclass(frozen=True, eq=False)
class Sharded(Subject):
    """A function that several ranks call, each on its piece.

    Attributes:
        cases: a setting -> calls, and what a sentence says of each.
        worlds: how many ranks it is called on.
        ranks: the processes.
        single: what one process computes of a case in float64.
        plain: the same in a narrower dtype, in the way that ranks compute it.
        owns: whether it has to take any pieces; else it may refuse uneven ones.
    """

    cases: Callable[[Setting], Iterable[tuple[str, Case]]]
    worlds: tuple[int, ...]
    ranks: Processes
    single: Callable[[Case], Found]
    plain: Callable[[Case], Found]
    owns: bool = False

    def pieces(self, case: Case) -> list[Answer]:
        """What each rank of a case computes."""
        return self.ranks.ask(self.name, on_rank, case)[: case.world]

    def size(self, setting: Setting) -> str:
        """The ranks and their pieces before the size."""
        channels = setting.describe(channels=self.owns)
        return f"world {len(setting.pieces)}  pieces {spelled(setting.pieces)}  {channels}"


def spelled(pieces: tuple[int, ...]) -> str:
    """The lengths of pieces.

    >>> spelled((2, 0))
    '2 0'
    """
    return " ".join(map(str, pieces))


def sharded_form(mixer: Mixer[..., Any], world: int, ranks: Processes) -> Sharded:
    """The form `shard` of a mixer; its loop is what one process computes."""
    form = mixer.form("shard")

    def by(way: Callable[..., Any]) -> Callable[[Case], Found]:
        return lambda case: whole(replace(case, way=way))

    return Sharded(
        f"{mixer.name}.shard", form, lambda _: (), mixer.contract.sequences,
        cases=partial(_of_mixer, mixer, form), worlds=tuple(range(1, world + 1)), ranks=ranks,
        single=by(mixer.form("loop")), plain=by(mixer.local), owns=True,
    )  # fmt: skip


def _of_mixer(
    mixer: Mixer[..., Any], form: Callable[..., Any], setting: Setting
) -> Iterator[tuple[str, Case]]:
    """From nothing and from a state, without documents and with them."""
    contract = mixer.contract
    drawn = partial(mixer.drawn, B=setting.B, C=setting.C, dtype=setting.dtype)
    given = contract.named(drawn(T=setting.T, seed=setting.seed))
    before = contract.named(drawn(T=PAST, seed=setting.seed + 77))
    before |= {n: v for n, v in given.items() if n not in contract.sequences}
    past = mixer.loop(**before)[1]
    for told, state, packed in (
        ("", None, False), (", from a state", past, False), (", with documents", None, True),
        (", from a state with documents", past, True),
    ):  # fmt: skip
        if packed and not contract.documents:
            continue
        kwargs = {**given, "state": state}
        if packed:
            kwargs["documents"] = documents(setting.pieces, setting.B)
        names = {path: _called(mixer, path) for path, _ in arrays(kwargs)}
        cut = frozenset(p for p in names if p[0] in (*contract.sequences, "documents"))
        yield told, Case(form, (), kwargs, names, cut, setting.pieces, "group", state=True)


def _called(mixer: Mixer[..., Any], path: Path) -> str:
    parts = [p.path for p in mixer.contract.state]
    return f"state.{parts[path[1]]}" if path[0] == "state" and len(path) > 1 else str(path[0])


def documents(pieces: tuple[int, ...], B: int) -> Tensor:
    """[B, T] ids: a document across each border, one that begins at the first border, short ones.

    >>> documents((2, 1), 3).tolist()
    [[0, 0, 0], [0, 0, 1], [0, 0, 1]]
    """
    place = torch.arange(sum(pieces))
    first = next((n for n in pieces if n), 0)
    rows = (0 * place, place // 2, (place >= first).long())
    return torch.stack([rows[b % 3] for b in range(B)])


def sharded_function(
    subject: Any, example: Any, world: int, ranks: tuple[Processes, Processes], reference: Any,
    options: Mapping[str, Any],
) -> Sharded:  # fmt: skip
    """A user's function or module.

    Args:
        subject: what ranks call, each with its piece of the sequences, and with the group if it
            has a keyword for that.
        example: the arguments of one call on the whole.
        world: how many ranks.
        ranks: processes of a group of so many, and of a group of one.
        reference: what one process calls; None is the subject, in a group of one.
        options: `output`, `vocabulary` and `fixed` of `check`.

    Raises:
        CallError: no example, or one without a sequence of tensors with time on axis 1.
    """
    way, own = _made(subject), label(subject)
    if example is None:
        raise CallError(f"check: example is missing; give the arguments of one call of {own}")
    read = read_example(way, example, Asked(**options))[0]
    if read.numpy:
        raise CallError(f"check: the example of {own} has numpy arrays; give tensors")
    many, one = ranks
    group = next((n for n in GROUPS if n in signature(way)), "")

    def single(case: Case) -> Found:
        way = case.way if reference is None else _made(reference)
        [found] = one.ask(own, alone, replace(case, way=way))
        if found.outcome == "returns":
            return dict(found.value)
        what = "reference" if reference is not None else f"{own} in a group of one process"
        raise NotRun(f"{what} {said(found)}")

    return Sharded(
        own, way, lambda _: (), read.names, cases=partial(_of_function, way, read, group, options),
        worlds=tuple(range(2, world + 1)) if group else (world,), ranks=many, single=single,
        plain=single,
    )  # fmt: skip


def said(answer: Answer) -> str:
    """What became of a call, as the rest of a sentence."""
    if answer.outcome == "raises":
        return f"raises {answer.told}"
    if answer.outcome == "waits":
        return f"does not return, it {answer.told}"
    if answer.outcome == "returns":
        return "has returned"
    return f"ended its process, which {answer.told}"


def _made(subject: Any) -> Any:
    """The subject; a class, or a function that takes nothing, is called."""
    takes = () if isinstance(subject, nn.Module) else inspect.signature(subject).parameters
    needed = [p for p in takes.values() if p.default is p.empty] if takes else []
    factory = isinstance(subject, type) or (inspect.isfunction(subject) and not takes)
    return subject() if factory and not needed else subject


def _of_function(
    way: Any, read: Example, group: str, options: Mapping[str, Any], setting: Setting
) -> Iterator[tuple[str, Case]]:
    rng = torch.Generator().manual_seed(setting.seed)
    own = [read.sequence(i) for i in range(len(read.paths))]
    lead = (setting.B, setting.T)
    drawn = tuple(alike(x, (*lead, *x.shape[2:]), rng, read.vocabulary) for x in own)
    args, kwargs = read.filled(drawn)
    args, kwargs = convert((tuple(args), kwargs), setting.dtype)
    way = convert(way, setting.dtype) if isinstance(way, nn.Module) else way
    found = [*arrays(args), *arrays(kwargs)]
    names = {path: _name(read, path) for path, _ in found}
    cut = frozenset(read.paths)
    trains = any(numbers(x) for _, x in found) or isinstance(way, nn.Module)
    yield "", Case(
        way, args, kwargs, names, cut, setting.pieces, group, options.get("output"), trains=trains,
    )  # fmt: skip


def _name(read: Example, path: Path) -> str:
    if path in read.paths:
        return read.names[read.paths.index(path)]
    return named(path, str(path[0]))
