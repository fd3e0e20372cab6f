"""The contract of a mixer: what a call takes and what its state holds, written down once.

The file of a mixer declares a `Contract`, which checks every call. The command line, the benchmark,
the verifier and the tests ask the same contract what an argument is.
"""

from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from .errors import CallError, DtypeError
from .shapes import FLOATING, begins, beside, bind, floating, groups, what
from .shown import html
from .shown.lines import Span
from .state import FINE, SAME, WIDE, Parts, letter_of, shown, wide

__all__ = ["FINE", "SAME", "WIDE", "Argument", "Contract"]

Kind = str | type | None
"""The axes of a tensor, e.g. "B T C"; `float`: a number; `bool`: a flag; None: optional."""


class Argument(NamedTuple):
    """One argument of a mixer.

    Attributes:
        name: of the argument.
        axes: the letters of its axes, e.g. ("B", "T", "C"); None where it is never a tensor.
        number: whether it may be a Python number.
        flag: whether it may be True or False.
        optional: whether it may be left out.
    """

    name: str
    axes: tuple[str, ...] | None
    number: bool
    flag: bool
    optional: bool

    @property
    def sequence(self) -> bool:
        """Whether it has an axis T; an argument without one is a parameter."""
        return self.axes is not None and "T" in self.axes

    @property
    def wanted(self) -> str:
        """What the argument has to be, in words: "a number or a tensor [C]"."""
        kinds = ["True or False"] * self.flag + ["a number"] * self.number
        return " or ".join(kinds + ([f"a tensor [{' '.join(self.axes)}]"] if self.axes else []))

    def takes(self, value: object) -> bool:
        """Whether it may be this value, which is no tensor."""
        if value is None:
            return self.optional and not self.flag
        if isinstance(value, bool):
            return self.flag
        return self.number and isinstance(value, int | float)


class Contract:
    """What a mixer takes, in the order of its call, and what its state holds.

    Args:
        name: of the mixer.
        arguments: `name="B T C"` is a tensor with these axes. With an axis T it is a sequence;
            without one it is a parameter. `name=float` is a number, `name=bool` a flag, and a tuple
            lists alternatives: `a=("C", float)`, `bias=("C", None)`.
        state: the tensors of the state, `name=(axes, dtype)` in a dict, or dicts inside it. A
            dtype may be FINE, WIDE or SAME. A dict of one entry called "state" is one tensor. An
            axis may be written "W-1": one less than the size of W; or "H:k": as many as the
            argument k has, where `shared` lets arguments have fewer; or "S+", which grows with T
            and is 0 at the start. Rows of a batch share its length: zeros stand at the end of a row
            whose past is shorter, and the state counts how long it is.
        made: called with the entries of the dict to make a state, e.g. a NamedTuple. Without it a
            state of several tensors is a dict.
        values: the sequence that the triangle is applied to, `y = wei @ values + carried`; y has
            its axes. The default is the first sequence.
        shared: the letter of an axis (heads, channels) that some arguments may share in groups.
        wide: arguments that may be float32 beside halves. Every parameter may.
        documents: whether the forms take `documents=`.

    Raises:
        CallError: a declaration that contradicts itself.

    >>> contract = Contract("demo", x="B T C", a=("C", float), state=dict(state=("B C", WIDE)))
    >>> contract.sequences, contract.parameters, contract.own
    (('x',), ('a',), ('C',))
    >>> contract.start("demo.loop", (torch.ones(2, 7, 3), 0.5))[2]
    {'B': 2, 'T': 7, 'C': 3}
    >>> contract.start("demo.loop", (torch.ones(2, 7, 3), torch.ones(4)))
    Traceback (most recent call last):
    trilby.errors.ShapeError: demo.loop: a is [4], expected [C] with C=3 (from x)
    """

    def __init__(
        self,
        name: str,
        /,
        *,
        state: Mapping[str, Any],
        made: Callable[..., Any] | None = None,
        values: str | None = None,
        shared: str = "",
        wide: Sequence[str] = (),
        documents: bool = True,
        **arguments: Kind | tuple[Kind, ...],
    ) -> None:
        self.name, self.shared, self.documents = name, shared, documents
        self.arguments = {n: _argument(name, n, kinds) for n, kinds in arguments.items()}
        self.sequences = tuple(a.name for a in self.arguments.values() if a.sequence)
        self.parameters = tuple(n for n in arguments if n not in self.sequences)
        self.needed = tuple(n for n in self.sequences if not self.arguments[n].optional)
        if not self.sequences:
            raise CallError(f"{name}: no argument has an axis T; declare a sequence, x='B T C'")
        self.values = values or self.sequences[0]
        for named in (self.values, *wide):
            if named not in self.sequences:
                raise CallError(f"{name}: {named} is not one of its sequences {self.sequences}")
        self.state = Parts(state, made)
        if isinstance(made, type) and issubclass(made, tuple):  # `torch.load` may make it again
            torch.serialization.add_safe_globals([made])
        self.places = self._places()
        self.own = tuple(letter for letter, _, _ in self.places)
        asked = {axis for part in self.state for axis in part.axes if ":" in axis}
        self._asked = {name: axis for axis in asked for name in [axis.partition(":")[2]]}
        order = list(self.arguments)
        self._first, self._values = order.index(self.sequences[0]), order.index(self.values)
        self._takes = tuple(
            (a, a.axes or (), not a.sequence or a.name in wide) for a in self.arguments.values()
        )

    def __repr__(self) -> str:
        takes = ", ".join(f"{a.name} {_kind(a)}" for a in self.arguments.values())
        holds = ", ".join(f"{part.path} [{shown(part.axes)}]" for part in self.state)
        return f"<contract {self.name}: takes {takes}; state {holds}>"

    def _repr_html_(self) -> str:
        takes = {a.name: a.wanted + " or nothing" * a.optional for a in self.arguments.values()}
        dtypes = {part.path: str(part.dtype).removeprefix("torch.") for part in self.state}
        holds = {p.path: f"[{shown(p.axes)}] {dtypes[p.path]}" for p in self.state}
        rows: list[list[str | Span]] = [["takes", Span(name), text] for name, text in takes.items()]
        rows += [["state", Span(name), text] for name, text in holds.items()]
        return html.box(html.sentence(f"contract of {self.name}"), html.table(["", "", ""], rows))

    def _places(self) -> tuple[tuple[str, int, int], ...]:
        """For each letter but B and T: a sequence and its axis of that size."""
        found: dict[str, tuple[str, int, int]] = {}
        known = {self.state.grows}
        for argument in self.arguments.values():
            known.update(argument.axes or ())
        for i, name in enumerate(self.sequences):
            for axis, letter in enumerate(self.arguments[name].axes or ()):
                if letter not in ("B", "T"):
                    found.setdefault(letter, (letter, i, axis))
        for part in self.state:
            wrong = [axis for axis in part.axes if ":" in axis and not self._lent(axis)]
            if wrong:
                raise CallError(
                    f"{self.name}: state {part.path} has the axis {wrong[0]!r}, expected a shared "
                    "axis and an argument that has it, e.g. 'H:k'"
                )
            if not known.issuperset(map(letter_of, part.axes)):
                raise CallError(
                    f"{self.name}: state {part.path} is [{' '.join(part.axes)}], which has an axis "
                    "that no argument has; its size would not be known"
                )
        return tuple(found.values())

    def _lent(self, axis: str) -> bool:
        """Whether "H:k" is the axis that is shared, of an argument that always has it."""
        letter, _, name = axis.partition(":")
        found = self.arguments.get(name)
        kept = found is not None and not found.optional and letter in (found.axes or ())
        return kept and letter == self.shared

    def start(
        self,
        where: str,
        given: tuple[object, ...],
        state: Any = None,
        documents: object = None,
        *,
        expanded: bool = False,
    ) -> tuple[Any, Tensor | None, dict[str, int]]:
        """Check one call, and return what it starts from.

        Args:
            where: the call as the user knows it, quoted in errors, e.g. "mean.loop".
            given: all arguments in order, also those that have a default.
            state: the state that the call was given; None is a state of zeros.
            documents: [B, T] ids, or None.
            expanded: an empty state may be one zero for all elements; do not write to it.

        Returns:
            state: the one that was given, or zeros.
            begins: [B, T] bool, true where a new document begins; None without documents.
            size: letter -> size.

        Raises:
            ShapeError, DtypeError, StateError, DocumentError: one line that names the call, the
                argument, its value and what to do.
        """
        size = self._sizes(given)
        if size is None:
            self._refuse(where, given)
        first = given[self._first]
        assert isinstance(first, Tensor)
        if documents is None:
            new = None
        else:
            if not isinstance(documents, Tensor) or documents.shape != (size["B"], size["T"]):
                bind(where, **self._patterns(given), documents=(documents, "B T"))
            new = begins(where, documents, first)  # type: ignore[arg-type]
        if state is None:
            return self.state.blank(given[self._values], size, expanded), new, size
        if not self.state.fits(state, first, size):
            self.state.refuse(where, state, first, size, self._patterns(given))
        return state, new, size

    def empty(self, *given: object) -> Any:
        """The state before the first position of a call with these arguments: zeros."""
        return self.start(self.name, given)[0]

    def sizes(self, *given: object) -> dict[str, int]:
        """Check a call with these arguments, and return the size of every letter.

        >>> Contract("demo", x="B T C", state={}).sizes(torch.zeros(2, 7, 3))
        {'B': 2, 'T': 7, 'C': 3}
        """
        return self.start(self.name, given)[2]

    def length(self, sequence: object) -> int | None:
        """T of the first sequence; None if it is not what the contract says."""
        first = self._takes[self._first][1]
        if isinstance(sequence, Tensor) and sequence.ndim == len(first):
            return sequence.shape[first.index("T")]
        return None

    def named(self, given: Sequence[Any]) -> dict[str, Any]:
        """Arguments given by place, as a dict by name."""
        return dict(zip(self.arguments, given, strict=False))

    def _sizes(self, given: tuple[object, ...]) -> dict[str, int] | None:
        """The size of every letter; None if anything is wrong, which `_refuse` explains."""
        first: Any = given[self._first]
        if not isinstance(first, Tensor) or first.dtype not in FLOATING:
            return None
        size: dict[str, int] = {}
        heads: list[int] = []
        dtype, device = first.dtype, first.device
        for (argument, axes, loose), value in zip(self._takes, given, strict=True):
            if not isinstance(value, Tensor):
                if argument.takes(value):
                    continue
                return None
            shape = value.shape
            if len(shape) != len(axes):
                return None
            if value is not first:
                if value.device != device:
                    return None
                if value.dtype != dtype and not (loose and value.dtype == wide(dtype)):
                    return None
            for letter, n in zip(axes, shape, strict=True):
                if letter == self.shared:
                    heads.append(n)
                    if argument.name in self._asked:
                        size[self._asked[argument.name]] = n
                elif letter not in size:
                    size[letter] = n
                elif size[letter] != n:
                    return None
        if heads:
            H, G = max(heads), min(heads)
            if G != H and (not G or H % G or any(n not in (H, G) for n in heads)):
                return None
            size[self.shared] = H
        return size

    def _patterns(self, given: tuple[object, ...]) -> dict[str, tuple[Any, str]]:
        """The tensors of a call and their axes, for `bind`; shared axes may have any size."""
        found = {}
        for (argument, axes, _), value in zip(self._takes, given, strict=True):
            if axes and not argument.takes(value):
                free = [f":{x}" if x == self.shared else x for x in axes]
                found[argument.name] = value, " ".join(free)
        return found

    def _refuse(self, where: str, given: tuple[object, ...]) -> NoReturn:
        """Raise the error for a call that `_sizes` found wrong."""
        for (argument, axes, _), value in zip(self._takes, given, strict=True):
            mixed = not axes or argument.number
            if mixed and not isinstance(value, Tensor) and not argument.takes(value):
                shown = repr(value) if isinstance(value, bool | int | float | str) else what(value)
                how = f"convert it first, e.g. torch.as_tensor({argument.name})"
                raise DtypeError(
                    f"{where}: {argument.name} is {shown}, expected {argument.wanted}; "
                    f"{how if axes and value is not None else 'give one'}"
                )
            if not axes and isinstance(value, Tensor):
                raise DtypeError(
                    f"{where}: {argument.name} is {what(value)}, expected {argument.wanted}; "
                    f"convert it first, e.g. {argument.name}.item()"
                )
        tensors: dict[str, tuple[Any, str]] = self._patterns(given)
        bind(where, **tensors)
        first: Any = given[self._first]
        loose = {a.name for a, _, free in self._takes if free}
        floating(where, **{n: t for n, (t, _) in tensors.items() if n not in loose})
        for name in [name for name in tensors if name in loose]:
            tensor, _ = tensors[name]
            if tensor.dtype not in (first.dtype, wide(first.dtype)):
                floating(where, **{self.sequences[0]: first, name: tensor})
            beside(where, first, **{name: tensor})
        groups(where, "heads" if self.shared == "H" else "channels", **{
            a.name: given[i].shape[axes.index(self.shared)]  # type: ignore[attr-defined]
            for i, (a, axes, _) in enumerate(self._takes)
            if self.shared in axes and isinstance(given[i], Tensor)
        })  # fmt: skip
        raise AssertionError(f"{where}: the contract refuses a call and cannot say why")


def _argument(where: str, name: str, kinds: Any) -> Argument:
    every = kinds if isinstance(kinds, tuple) else (kinds,)
    axes = [tuple(kind.split()) for kind in every if isinstance(kind, str)]
    for kind in every:
        if not isinstance(kind, str) and kind not in (float, bool, None, NoneType):
            raise CallError(
                f"{where}: {name} is declared as {kind!r}; write its axes, float, bool or None"
            )
    if len(axes) > 1 or name in ("state", "documents", "form"):
        raise CallError(f"{where}: {name} cannot be declared as {kinds!r}")
    flag, optional = bool in every, bool in every or None in every
    return Argument(name, axes[0] if axes else None, float in every, flag, optional)


def _axes(axes: Sequence[str]) -> str:
    return f"[{' '.join(axes)}]"


def _kind(argument: Argument) -> str:
    """The axes of an argument, or what else it may be."""
    return _axes(argument.axes) if argument.axes else argument.wanted
