"""The card every room hangs on its door: what the mixer is called and what it can do."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from .errors import FormError

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

    def __post_init__(self) -> None:
        loop = self.forms["loop"]
        contract = inspect.signature(loop)
        form = inspect.Parameter("form", inspect.Parameter.KEYWORD_ONLY, default=None)
        parameters = [*contract.parameters.values(), form]
        own = {
            "__name__": self.name,
            "__qualname__": self.name,
            "__module__": loop.__module__,
            "__doc__": inspect.getdoc(inspect.getmodule(loop)),
            "__signature__": contract.replace(parameters=parameters),
        }
        for key, value in own.items():
            object.__setattr__(self, key, value)

    def __call__(self, *arguments: Any, form: str | None = None, **keywords: Any) -> Any:
        name = self.best(*arguments, **keywords) if form is None else form
        found = self.forms.get(name)
        if found is None:
            raise self._no(name)
        return found(*arguments, **keywords)

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

    def _no(self, form: object) -> FormError:
        """The error for a form that this mixer does not have."""
        if form in self.absent:
            return FormError(f"{self.name}: there is no form {form!r}: {self.absent[str(form)]}")
        near = get_close_matches(str(form), self.forms, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "take one of"
        known = " ".join(self.forms)
        return FormError(f"{self.name}: form is {form!r}, which does not exist; {hint} ({known})")
