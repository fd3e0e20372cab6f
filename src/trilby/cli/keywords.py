"""Options for the parameters of a mixer, from its contract: `--a 0.9`."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .names import mixer_of, names

if TYPE_CHECKING:
    from ..card import Mixer
    from ..contract import Argument

_FOUND = "trilby.mixer"


class WithKeywords(click.Command):
    """A command whose first argument is a mixer; the parameters of that mixer are options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        name = self._first(args)
        if name is not None and any(self._unknown(word) for word in args):
            ctx.meta[_FOUND] = mixer_of(name)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        known, mixer = super().get_params(ctx), ctx.meta.get(_FOUND)
        return known if mixer is None else [*known, *options_of(mixer)]

    def invoke(self, ctx: click.Context) -> Any:
        mixer = ctx.params["mixer"]
        given = {}
        for name in mixer.contract.parameters:
            value = ctx.params.pop(_dest(name), None)
            if value is not None:
                given[name] = value
        missing = [n for n in mixer.contract.parameters if n not in given and _needed(mixer, n)]
        if missing:
            wanted = _wanted(mixer.contract.arguments[missing[0]])
            raise click.UsageError(f"{mixer.name} needs --{missing[0]}, {wanted}; give it", ctx)
        ctx.params["parameters"] = given
        return super().invoke(ctx)

    def _first(self, args: list[str]) -> str | None:
        """The word that names the mixer: the first that is neither an option nor its value."""
        takes = {o for p in self.params if not getattr(p, "is_flag", True) for o in p.opts}
        words = [w for before, w in pairwise(["", *args]) if w[:1] != "-" and before not in takes]
        return next((w for w in words if w in names() or ":" in w), None)

    def _unknown(self, word: str) -> bool:
        options = {option for p in self.params for option in p.opts} | {"--help"}
        return word in ("-h", "--help") or (
            word.startswith("--") and word.partition("=")[0] not in options
        )


class Value(click.ParamType):
    """A number, numbers separated by commas, or the path of a .npy file."""

    name = "value"

    def __init__(self, argument: "Argument") -> None:
        self.argument = argument

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            if self.argument.axes and value.lower().endswith(".npy"):
                import numpy as np

                return np.load(Path(value), allow_pickle=False).tolist()
            numbers = [float(number) for number in value.split(",")]
        except (OSError, ValueError) as problem:
            raise click.UsageError(
                f"--{self.argument.name} is {value!r}, expected {_wanted(self.argument)}", ctx
            ) from problem
        return numbers[0] if self.argument.number and len(numbers) == 1 else numbers


def options_of(mixer: "Mixer[..., Any]") -> list[click.Option]:
    """The options for the parameters of a mixer."""
    found = []
    for name in mixer.contract.parameters:
        argument = mixer.contract.arguments[name]
        where = f"Of {mixer.name}: {_wanted(argument)}."
        if argument.flag:
            found.append(click.Option([f"--{name}", _dest(name)], is_flag=True, help=where))
        else:
            found.append(click.Option([f"--{name}", _dest(name)], type=Value(argument), help=where))
    return found


def _wanted(argument: "Argument") -> str:
    """What an option takes, in words."""
    if argument.flag:
        return "a flag"
    if not argument.axes:
        return "a number"
    axes = " ".join(argument.axes)
    several = (
        f"{axes} numbers as 0.9,0.8 or in a .npy file"
        if len(argument.axes) == 1
        else (f"an array [{axes}] in a .npy file")
    )
    return f"a number, or {several}" if argument.number else several


def _needed(mixer: "Mixer[..., Any]", name: str) -> bool:
    return not mixer.contract.arguments[name].optional


def _dest(name: str) -> str:
    return f"of_mixer_{name}"
