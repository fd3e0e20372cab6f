"""The commands by name, each imported when it is called, and the options that all of them take."""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import click

from .words import COLOR, unknown

_COMMANDS: dict[str, tuple[str, Callable[[], click.Command]]] = {
    "tour": (
        "Start here: three programs for one function, real data, speed.",
        lambda: import_module(".tour", __package__).tour,
    ),
    "list": (
        "List the mixers and their forms.",
        lambda: import_module(".listing", __package__).command,
    ),
    "show": (
        "Show a mixer: definition, forms, costs and weight matrix.",
        lambda: import_module(".show", __package__).show,
    ),
    "explore": (
        "Draw what each position reads: in the terminal, or as a page.",
        lambda: import_module(".explore", __package__).explore,
    ),
    "same": (
        "Test whether two forms compute the same function.",
        lambda: import_module(".same", __package__).same,
    ),
    "check": (
        "Verify a mixer or your own module: is it causal, and so on.",
        lambda: import_module(".check", __package__).check,
    ),
    "gallery": (
        "Show modules with known faults, and correct ones that look wrong.",
        lambda: import_module(".gallery", __package__).command,
    ),
    "bench": (
        "Time the forms of a mixer, after verifying each one.",
        lambda: import_module(".bench", __package__).bench,
    ),
    "audit": (
        "Verify every causal language model type of a library.",
        lambda: import_module(".audit", __package__).audit,
    ),
    "accelerate": (
        "Run a checkpoint of transformers as it is and accelerated.",
        lambda: import_module(".accelerate", __package__).accelerate,
    ),
    "mix": (
        "Run a mixer over a file of any length.",
        lambda: import_module(".mix", __package__).mix,
    ),
    "env": (
        "Print versions, machine, and which kernels run here.",
        lambda: import_module(".environment", __package__).env,
    ),
    "completion": (
        "Print the completion script for your shell.",
        lambda: import_module(".completion", __package__).completion,
    ),
}


HYPHEN = "\ue000"
"""Stands for a hyphen while click folds lines, which it would break there."""


class Whole(click.HelpFormatter):
    """Help that breaks no name at its hyphens."""

    def write_text(self, text: str) -> None:
        super().write_text(text.replace("-", HYPHEN))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        kept = [(name, text.replace("-", HYPHEN)) for name, text in rows]
        super().write_dl(kept, col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().replace(HYPHEN, "-")


class Context(click.Context):
    """The context of every command, which folds its help by `Whole`."""

    formatter_class = Whole


class PipeClosed(Exception):
    """The reader of our output has closed it. Click would report that as an error."""


class Commands(click.Group):
    """A click group that imports a command only when it is called."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command = _COMMANDS[name][1]()
        command.context_class = Context
        known = {option for parameter in command.params for option in parameter.opts}
        command.params += [shared for shared in _shared() if not known & set(shared.opts)]
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(unknown("command", args[0], list(_COMMANDS)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (summary, _) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as problem:
            raise PipeClosed from problem


def _shared() -> list[click.Parameter]:
    """`--color` and `--debug`, which may stand before or after the command."""

    def keep(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta[COLOR] = value

    color = click.Option(
        ["--color"],
        type=click.Choice(["auto", "always", "never"]),
        expose_value=False,
        callback=keep,
        help="Use colour; auto means on a terminal, unless NO_COLOR is set.",
    )
    debug = click.Option(
        ["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error."
    )
    return [color, debug]


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"trilby {version('trilby')}")
        ctx.exit()


@click.pass_context
def _help(ctx: click.Context) -> None:
    """Without a command, print the help."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


trilby = Commands(
    "trilby",
    help="Verify that sequence models are causal and correct; run fast causal mixers.",
    epilog="Exit codes: 0 ok, 1 a law is broken or the answer is no, 2 wrong usage or input, "
    "3 a bug in trilby, 130 interrupted.",
    invoke_without_command=True,
    subcommand_metavar="[COMMAND] [ARGS]...",
    callback=_help,
    params=[
        *_shared(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Print the version.",
        ),
    ],
    context_settings=dict(help_option_names=["-h", "--help"]),
)
