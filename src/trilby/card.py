"""A mixer: its contract, its forms, and the call that takes the best of them."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    NamedTuple,
    ParamSpec,
    Protocol,
    TypeGuard,
    TypeVar,
    overload,
)  # fmt: skip

import torch
from torch import Tensor

from .contract import Contract
from .errors import CallError, FormError
from .forms import FORMS, cost
from .pooling import coarse
from .sharding import current
from .shown import html
from .shown.lines import Span, line, plain
from .shown.triangle import MOST, draw, picture

__all__ = ["FORMS", "Mixer", "Sized", "Weights"]

FEW = 16
"""Positions up to which the `repr` of a triangle draws it."""

P = ParamSpec("P")  # the arguments of the mixer
R = TypeVar("R")  # what it returns: (y, state)
Result = TypeVar("Result", covariant=True)


class Weights(NamedTuple):
    """A mixer as a triangle: `y = wei @ values + carried`.

    Attributes:
        wei: [B, T, T], or [B, H, T, T] with one triangle for each head or channel; row = the
            position that reads, column = the position read.
        carried: as y, what the state contributes to the output, and a bias where there is one; zero
            without either.
    """

    wei: Tensor
    carried: Tensor

    def __repr__(self) -> str:
        few = self.wei.shape[-1] <= FEW and not self.wei.is_meta
        drawn = map(plain, draw(self._first().tolist())) if few else ()
        return "\n".join([f"Weights: {self._said()}", *drawn])

    def _repr_html_(self) -> str:
        shown = "" if self.wei.is_meta else picture(*coarse(self._first(), MOST))
        return html.box(html.sentence(self._said()), shown)

    def _said(self) -> str:
        """The sizes, and which triangle is shown."""
        wei, carried = self
        dtype = str(wei.dtype).removeprefix("torch.")
        said = f"wei {list(wei.shape)}, carried {list(carried.shape)}, {dtype}"
        if wei.is_meta:
            return f"{said}, without values"
        triangles = wei.detach().reshape(-1, *wei.shape[-2:])
        if len(triangles) > 1:
            alike = bool((triangles == triangles[:1]).all())
            said += f"; all {len(triangles)} are equal" if alike else "; the first is shown"
        ahead = int(torch.count_nonzero(self._first().triu(1)))
        return said + (f"; {ahead} weights read the future, which is a leak" if ahead else "")

    def _first(self) -> Tensor:
        """One triangle: [T, T]."""
        wei = self.wei.detach()
        whole = wei.reshape(-1, *wei.shape[-2:])
        return whole[0] if len(whole) else whole.new_zeros(wei.shape[-2:])

    def on(self, values: Tensor) -> Tensor:
        """y, from the values that the triangle is applied to.

        Args:
            values: [B, T, C], or [B, T, H, V]. With G heads for the H of `wei`, each of
                them is shared by H / G neighbouring heads; so with channels.

        Returns:
            As `carried`.

        >>> wei = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]])
        >>> Weights(wei, torch.zeros(1, 2, 1)).on(torch.tensor([[[2.0], [4.0]]])).flatten().tolist()
        [2.0, 3.0]
        """
        wei, carried = self
        if wei.ndim == 3:
            return wei @ values + carried
        whole = values.repeat_interleave(wei.shape[1] // max(1, values.shape[2]), 2)
        if values.ndim == 3:  # one triangle for each channel
            return torch.einsum("bcts,bsc->btc", wei, whole) + carried
        return torch.einsum("bhts,bshv->bthv", wei, whole) + carried


class Sized(Protocol[P, Result]):
    """The form `chunk`: it takes the arguments of the mixer, and `size`."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Result: ...
    @overload
    def __call__(self, *args: Any, size: int, **kwargs: Any) -> Result: ...


@dataclass(frozen=True, repr=False, eq=False)
class Mixer(Generic[P, R]):
    """A causal mixer: one function of a sequence, in every form that it has.

    A call takes the fastest form for the device, the dtype and the size; `best` documents the rule.
    `form="matrix"`, or the attribute `.matrix`, takes exactly that form.

    Attributes:
        contract: what a call takes and what the state holds.
        forms: form name -> function, in the order of `FORMS`; all take the arguments of the loop.
        absent: form name -> one sentence saying why the form does not exist.
        best: `best(x)` -> the name of the form that a call without `form=` takes.
        weights: the mixer as a triangle, same arguments as a form -> `Weights`.
        draw: `draw(B=, T=, ..., seed=, dtype=)` -> a valid argument tuple, time on axis 1.
        inplace: what `advance` calls first: the same arguments and a state -> y, the state changed
            in place; or None, and nothing done, where it cannot. None: there is no such kernel.

    Raises:
        CallError: the arguments of the loop are not those of the contract.
    """

    contract: Contract
    forms: Mapping[str, Callable[..., R]]
    absent: Mapping[str, str]
    best: Callable[..., str]
    weights: Callable[P, Weights]
    draw: Callable[..., tuple[Any, ...]]
    inplace: Callable[..., Tensor | None] | None = None

    _takes: Mapping[str, Mapping[str, inspect.Parameter]] = field(init=False)  # form by form
    _counts: Mapping[str, tuple[int, int]] = field(init=False)  # form by form, see `_counts`
    _drawn: dict[tuple[int, ...], dict[str, Any]] = field(init=False, default_factory=dict)
    _sown: list[bool] = field(init=False, default_factory=list)  # whether `draw` was tried

    if TYPE_CHECKING:
        loop: Callable[P, R] = field(init=False)
        matrix: Callable[P, R] = field(init=False)
        softmax: Callable[P, R] = field(init=False)
        scan: Callable[P, R] = field(init=False)
        chunk: Sized[P, R] = field(init=False)
        step: Callable[P, R] = field(init=False)
        shard: Callable[P, R] = field(init=False)
        fused: Callable[P, R] = field(init=False)

    @property
    def name(self) -> str:
        """What the mixer is called."""
        return self.contract.name

    def __post_init__(self) -> None:
        loop = self.forms["loop"]
        signature = inspect.signature(loop)
        self._agree(signature)
        form = inspect.Parameter("form", inspect.Parameter.KEYWORD_ONLY, default=None)
        own: dict[str, Any] = {
            "__name__": self.name,
            "__qualname__": self.name,
            "__module__": loop.__module__,
            "__doc__": inspect.getdoc(inspect.getmodule(loop)),
            "__signature__": signature.replace(parameters=[*signature.parameters.values(), form]),
        }
        for key, value in own.items():
            object.__setattr__(self, key, value)
        takes = {name: inspect.signature(f).parameters for name, f in self.forms.items()}
        object.__setattr__(self, "_takes", takes)
        object.__setattr__(self, "_counts", {n: _counts(p.values()) for n, p in takes.items()})

    def _agree(self, signature: inspect.Signature) -> None:
        """Raise a CallError unless the loop takes what the contract says."""
        named = signature.parameters.values()
        places = [p.name for p in named if p.kind is not p.KEYWORD_ONLY]
        extra = [p.name for p in named if p.kind is p.KEYWORD_ONLY]
        wanted = [name for name in self.contract.arguments if name not in extra]
        wanted += ["state"] + ["documents"] * self.contract.documents
        if places != wanted or not set(extra) <= set(self.contract.arguments):
            raise CallError(
                f"{self.name}: the loop takes {', '.join([*places, *extra])} and the contract says "
                f"{', '.join(wanted)}; make them one"
            )

    @overload
    def __call__(self, *arguments: P.args, **keywords: P.kwargs) -> R: ...
    @overload
    def __call__(self, *arguments: Any, form: str | None, **keywords: Any) -> R: ...
    def __call__(  # type: ignore[misc]  # a ParamSpec has no place for one keyword more
        self, *arguments: Any, form: str | None = None, **keywords: Any
    ) -> R:
        if form is None:
            self._fit(None, arguments, keywords)
            name = "shard" if current() is not None else self.best(*arguments, **keywords)
            return self.form(name)(*arguments, **keywords)
        way = self.form(form)
        self._fit(form, arguments, keywords)
        return way(*arguments, **keywords)

    def local(self, *arguments: P.args, **keywords: P.kwargs) -> R:
        """The plain call in this process, also inside `trilby.sharded`; `shard` is made of it."""
        return self.forms[self.best(*arguments, **keywords)](*arguments, **keywords)

    def advance(self, *arguments: Any, state: Any) -> Tensor:
        """One call of a stream that keeps its state in one place: y, and `state` is overwritten.

        Without gradients and tracing, a mixer with a kernel for it writes each number of the state
        where it was read, so that a decoder makes no memory for it; it looks at the contract once
        for each shape. Otherwise this is the plain call, and a copy of its state into `state`.

        Args:
            arguments: as of the loop, without documents.
            state: of an earlier call, or `contract.empty(*arguments)`; contiguous is fastest.

        Raises:
            As the plain call, and a CallError for a state that grows; it is not changed then.

        >>> one, state = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
        >>> half = torch.full((1, 1, 1), 0.5)
        >>> [trilby.delta.advance(one, one, one, half, state=state).item() for _ in range(3)]
        [0.5, 0.75, 0.875]
        >>> state.item()
        0.875
        """
        inplace = self.inplace if current() is None else None
        if inplace and (y := inplace(*arguments, state=state)) is not None:
            return y
        if self.contract.state.grows:
            raise CallError(
                f"{self.name}.advance: the state grows with T, so it cannot stay in one place; "
                "call the mixer and keep the state that it returns"
            )
        tensors = self.contract.state.tensors
        before = {name: t.clone() for name, t in tensors(state).items()}  # a graph keeps it
        result: Any = self(*arguments, state=self.contract.state.filled(before))
        y, after = result
        for one, new in zip(tensors(state).values(), tensors(after).values(), strict=True):
            one.copy_(new)
        return y

    def drawn(self, *, B: int, T: int, C: int, **how: Any) -> tuple[Any, ...]:
        """`draw`, with C for every size but B and T: channels, or heads, keys and values.

        Raises:
            CallError: `draw` returns the same values for two seeds.
        """
        if not self._sown:
            one, two = (self.draw(B=1, T=2, seed=seed) for seed in (0, 1))
            if all(torch.equal(a, b) for a, b in zip(one, two, strict=True) if _values(a)):
                raise CallError(
                    f"{self.name}: draw ignores its seed, 0 and 1 give the same values; draw with "
                    "generator=torch.Generator().manual_seed(seed)"
                )
            self._sown.append(True)
        return self.draw(B=B, T=T, **dict.fromkeys(self.contract.own, C), **how)

    def parameters(self, *sequences: Tensor) -> dict[str, Any]:
        """Parameters that fit these sequences, by name; equal sizes give equal parameters.

        They are drawn in bfloat16 and cast to the dtype of the sequences, so that calls in float64
        and in a narrower dtype have the same parameters.
        """
        contract = self.contract
        if not contract.parameters:
            return {}
        size = {letter: sequences[i].shape[axis] for letter, i, axis in contract.places}
        key = tuple(size.values())
        if key not in self._drawn:
            drawn = contract.named(self.draw(B=1, T=1, **size, seed=0, dtype=torch.bfloat16))
            self._drawn[key] = {n: v for n, v in drawn.items() if n in contract.parameters}
        dtype = sequences[0].dtype
        return {n: v.to(dtype) if _real(v) else v for n, v in self._drawn[key].items()}

    def form(self, name: str) -> Callable[..., R]:
        """The form of that name; a FormError lists the forms, or says why there is none."""
        if not isinstance(name, str) or name not in self.forms:
            raise self._no(name)
        return self.forms[name]

    def __getattr__(self, name: str) -> Any:
        if name in FORMS:  # never reached for `forms` itself: dataclass fields are found first
            found = self.forms.get(name)
            if found is None:
                raise AttributeError(str(self._no(name)), name=name, obj=self)
            return found
        raise AttributeError(f"mixer {self.name} has no {name!r}", name=name, obj=self)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.forms]

    def __repr__(self) -> str:
        contract = inspect.signature(self)
        bare = [p.replace(annotation=inspect.Parameter.empty) for p in contract.parameters.values()]
        call = contract.replace(parameters=bare, return_annotation=inspect.Signature.empty)
        return f"<mixer {self.name}{call}, forms {' '.join(self.forms)}>"

    def _repr_html_(self) -> str:
        rows: list[list[str | Span]] = [
            [Span(name), cost(form)] for name, form in self.forms.items()
        ]
        rows += [
            [Span(name, "skip"), f"does not exist: {why}"] for name, why in self.absent.items()
        ]
        definition = html.text(line(text) for text in (self.__doc__ or "").strip().splitlines())
        return html.box(
            html.sentence(repr(self)),
            html.table(["form", "cost"], rows),
            html.folded("definition and contract", definition),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("contract", "forms", "absent", "best", "weights", "draw", "inplace")
        return type(self), tuple(getattr(self, name) for name in names)

    def _fit(self, form: str | None, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Raise a CallError unless the form, or without one every form, takes these arguments."""
        least, most = self._counts[form or "loop"]
        if not keywords and least <= len(arguments) <= most:
            return
        takes = self._takes[form or "loop"]
        where, known = f"{self.name}.{form}" if form else self.name, ", ".join(takes)
        order = [name for name, p in takes.items() if p.kind is not p.KEYWORD_ONLY]
        if len(arguments) > len(order):
            raise CallError(
                f"{where}: {len(arguments)} arguments by place, expected at most {len(order)} "
                f"({', '.join(order)}); leave out the rest"
            )
        placed = order[: len(arguments)]
        for name, value in keywords.items():
            if name in placed:
                raise CallError(f"{where}: {name} is given twice, by place and by name; drop one")
            if name not in takes:
                others = [f"form={other!r}" for other, has in self._takes.items() if name in has]
                hint = f"it belongs to {' or '.join(others)}" if others else "leave it out"
                raise CallError(
                    f"{where}: there is no argument {name} (given {value!r}) among {known}; {hint}"
                )
        for name, p in takes.items():
            if p.default is p.empty and name not in placed and name not in keywords:
                raise CallError(f"{where}: {name} is missing; the call takes {known}")

    def _no(self, form: object) -> FormError:
        """The error for a form that this mixer does not have."""
        if isinstance(form, str) and form in self.absent:
            return FormError(f"{self.name}: there is no form {form!r}: {self.absent[form]}")
        near = get_close_matches(str(form), self.forms, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "take one of"
        known = " ".join(self.forms)
        return FormError(f"{self.name}: form is {form!r}, which does not exist; {hint} ({known})")


def _counts(parameters: Iterable[inspect.Parameter]) -> tuple[int, int]:
    """The least and the largest number of arguments by place."""
    places = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return sum(p.default is p.empty for p in places), len(places)


def _real(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.is_floating_point()


def _values(drawn: object) -> bool:
    return isinstance(drawn, Tensor) and drawn.numel() > 0
