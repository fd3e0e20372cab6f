"""The commands by name, each loaded when it is called, and the options that all of them take."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from .words import COLOR, unknown

_COMMANDS: dict[str, tuple[str, Callable[[], click.Command]]] = {
    "tour": (
        "The notebook's computation, live; real data; speed. Start here.",
        lambda: import_module(".tour", __package__).tour,
    ),
    "list": (
        "The mixers and their forms.",
        lambda: import_module(".listing", __package__).command,
    ),
    "show": (
        "One mixer: definition, contract, forms and their costs, its triangle.",
        lambda: import_module(".show", __package__).show,
    ),
    "same": (
        "Do two forms compute the same function?",
        lambda: import_module(".same", __package__).same,
    ),
    "check": (
        "Judge every form of a mixer by every law.",
        lambda: import_module(".check", __package__).check,
    ),
    "gallery": (
        "Wrong modules to learn from, and right ones that are taken for wrong.",
        lambda: import_module(".gallery", __package__).command,
    ),
    "bench": (
        "The forms of a mixer timed in turn, each after its verdict.",
        lambda: import_module(".bench", __package__).bench,
    ),
    "audit": (
        "Every causal language model type of a library, shrunk and judged.",
        lambda: import_module(".audit", __package__).audit,
    ),
    "mix": (
        "A mixer over your own file, however long.",
        lambda: import_module(".mix", __package__).mix,
    ),
    "env": (
        "Versions, machine, and which kernels run here.",
        lambda: import_module(".environment", __package__).env,
    ),
    "completion": (
        "Print the script that completes commands in your shell.",
        lambda: import_module(".completion", __package__).completion,
    ),
}


class PipeClosed(Exception):
    """The reader of our output is gone. Click would make it an error of its own."""


class Commands(click.Group):
    """Click's group, except that a command is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command = _COMMANDS[name][1]()
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
    """`--color` and `--debug`, before the command or after it."""

    def keep(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta[COLOR] = value

    color = click.Option(
        ["--color"],
        type=click.Choice(["auto", "always", "never"]),
        expose_value=False,
        callback=keep,
        help="Colour in the output; auto is on a terminal unless NO_COLOR is set.",
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


trilby = Commands(
    "trilby",
    help="Causal sequence mixers: every form of one triangle, proven to be the same function.",
    epilog="Exit codes: 0 good, 1 bad, 2 usage or input, 3 our fault, 130 interrupted.",
    no_args_is_help=True,
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
