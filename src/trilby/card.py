"""The card every room hangs on its door: what the mixer is called and what it can do."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from .errors import CallError, FormError

FORMS = ("loop", "matrix", "softmax", "scan", "chunk", "step", "shard", "fused")
"""Canonical order of forms. Rooms define them, docs list them and the court runs them so."""


@dataclass(frozen=True, repr=False, eq=False)
class Mixer:
    """A causal mixer: one function of a sequence, in every form that it has.

    Calling the mixer takes the best form for the device, the dtype and the size, by the rule that
    its `best` documents; `form="matrix"`, or the attribute `.matrix`, takes that one and no other.

    Attributes:
        name: what the mixer is called; equals the name of its module.
        forms: form name -> function, in the order of `FORMS`; all share the contract of the loop.
        absent: form name -> one sentence saying why the form does not exist.
        best: `best(x)` -> the name of the form that a call without `form=` takes.
        weights: the lower-triangular matrix of the mixer, same arguments as a form.
        draw: `draw(B=, T=, ..., seed=, dtype=)` -> a valid argument tuple, time on axis 1.
    """

    name: str
    forms: Mapping[str, Callable[..., Any]]
    absent: Mapping[str, str]
    best: Callable[..., str]
    weights: Callable[..., Any]
    draw: Callable[..., Any]

    _takes: Mapping[str, Mapping[str, inspect.Parameter]] = field(init=False)  # form by form

    def __post_init__(self) -> None:
        loop = self.forms["loop"]
        contract = inspect.signature(loop)
        form = inspect.Parameter("form", inspect.Parameter.KEYWORD_ONLY, default=None)
        parameters = [*contract.parameters.values(), form]
        own: dict[str, Any] = {
            "__name__": self.name,
            "__qualname__": self.name,
            "__module__": loop.__module__,
            "__doc__": inspect.getdoc(inspect.getmodule(loop)),
            "__signature__": contract.replace(parameters=parameters),
        }
        for key, value in own.items():
            object.__setattr__(self, key, value)
        takes = {name: inspect.signature(f).parameters for name, f in self.forms.items()}
        object.__setattr__(self, "_takes", takes)

    def __call__(self, *arguments: Any, form: str | None = None, **keywords: Any) -> Any:
        if form is None:
            self._fit(None, arguments, keywords)
            return self.forms[self.best(*arguments, **keywords)](*arguments, **keywords)
        way = self.form(form)
        self._fit(form, arguments, keywords)
        return way(*arguments, **keywords)

    def drawn(self, *, B: int, T: int, C: int, **how: Any) -> tuple[Any, ...]:
        """`draw`, with C for every size of the mixer's own: channels, or heads, keys and values."""
        return self.draw(B=B, T=T, **dict.fromkeys(self.sizes, C), **how)

    @property
    def sizes(self) -> tuple[str, ...]:
        """The letters of the mixer's own sizes, which `draw` takes beside B and T."""
        takes = inspect.signature(self.draw).parameters
        return tuple(name for name in takes if len(name) == 1 and name not in "BT")

    @property
    def sequences(self) -> tuple[str, ...]:
        """The names of the arguments that run in time, those before the state, in their order."""
        takes = list(self._takes["loop"])
        return tuple(takes[: takes.index("state")])

    def form(self, name: str) -> Callable[..., Any]:
        """The form of that name; a FormError says which there are, or why there is none."""
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

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.name, self.forms, self.absent, self.best, self.weights, self.draw)
        return type(self), fields

    def _fit(self, form: str | None, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Raise a CallError unless the form, or without one every form, takes these arguments."""
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
