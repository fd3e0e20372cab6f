"""Names on the command line: of a mixer, or of a form."""

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ..forms import FORMS
from .target import loaded
from .words import unknown

if TYPE_CHECKING:
    from ..card import Mixer

DTYPES = ("float64", "float32", "bfloat16", "float16")
EFFORTS = ("quick", "default", "thorough")


class MixerName(click.ParamType):
    """`mean`, or a user's mixer: `file.py:MIXER`, `package.module:MIXER`."""

    name = "mixer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return mixer_of(value) if isinstance(value, str) else value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]


class FormName(click.ParamType):
    """`mean.loop`; the value is the pair (mixer, name of the form)."""

    name = "mixer.form"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        name, dot, form = str(value).partition(".")
        if ":" in str(value):  # file.py:MIXER.loop
            place, colon, rest = str(value).rpartition(":")
            name, dot, form = rest.partition(".")
            name = place + colon + name
        mixer = mixer_of(name)
        if not dot:
            example = next(iter(mixer.forms))
            raise click.UsageError(f"{value!r} names no form; write e.g. {name}.{example}", ctx)
        return mixer, form_of(mixer, form)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        every = (f"{name}.{form}" for name in names() for form in FORMS)
        return [CompletionItem(name) for name in every if name.startswith(incomplete)]


class MixerOrForm(click.ParamType):
    """`mean` or `mean.loop`; the value is the pair (mixer, name of the form or None)."""

    name = "mixer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        last = str(value).rpartition(":")[2]
        if "." in last:
            return FormName().convert(value, param, ctx)
        return mixer_of(str(value)), None

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        which = FormName() if "." in incomplete else MixerName()
        return which.shell_complete(ctx, param, incomplete)


class Shape(click.ParamType):
    """`2,13,3`: the sizes of `[B, T, C]`."""

    name = "B,T,C"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, dict):
            return value
        parts = re.split(r"[,x]", str(value))
        if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
            message = f"--shape is {value!r}, expected three sizes B,T,C, e.g. 2,13,3"
            raise click.UsageError(message, ctx)
        return dict(zip("BTC", map(int, parts), strict=True))


def form_of(mixer: "Mixer[..., Any]", form: str) -> str:
    """The form of that name; an error lists the forms, or says why this one does not exist."""
    if form in mixer.forms:
        return form
    if form in mixer.absent:
        raise click.UsageError(f"{mixer.name} has no form {form!r}: {mixer.absent[form]}")
    raise click.UsageError(unknown(f"form of {mixer.name} called", form, list(mixer.forms)))


def summary(thing: object) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def mixer_of(target: str) -> "Mixer[..., Any]":
    """The mixer of that name; a user's mixer is `file.py:MIXER` or `package.module:MIXER`."""
    if ":" in target:
        from ..card import Mixer

        found = loaded(target)
        if not isinstance(found, Mixer):
            kind = type(found).__name__
            raise click.UsageError(f"{target} is of type {kind}, expected a trilby.Mixer")
        return found
    if target not in names():  # before torch is imported
        raise click.UsageError(unknown("mixer", target, names()))
    from ..mixers import MIXERS

    return MIXERS[target]


def names() -> list[str]:
    """The names of the mixers, from the names of files: importing them would import torch."""
    folder = Path(__file__).parents[1] / "mixers"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
