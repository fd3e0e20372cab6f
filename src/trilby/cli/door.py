"""The way in and the way out: what was typed becomes a command, what happened an exit code."""

import errno
import os
import sys
from collections.abc import Sequence

import click

from ..errors import TrilbyError
from .group import PipeClosed, trilby

GOOD, BAD, INPUT, FAULT, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `trilby` with these arguments (those of the process by default); the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = trilby.main(given, prog_name="trilby", standalone_mode=False)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        _complain("trilby: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return _closed()
    except Exception as problem:
        if "--debug" in given and not isinstance(problem, click.ClickException | PipeClosed):
            raise
        return _excuse(problem)
    return code if isinstance(code, int) else GOOD


def _excuse(problem: Exception) -> int:
    """One line about what went wrong, and the code for it."""
    if isinstance(problem, PipeClosed):
        return _closed()
    if isinstance(problem, click.UsageError):
        where = problem.ctx.command_path if problem.ctx else "trilby"
        _complain(f"{where}: {problem.format_message()} (see {where} --help)")
    elif isinstance(problem, click.ClickException):
        _complain(f"trilby: {problem.format_message()}")
    elif isinstance(problem, OSError) and problem.errno == errno.ENOSPC and not problem.filename:
        _complain(f"trilby: the output cannot be written ({problem.strerror}); make room for it")
    elif isinstance(problem, TrilbyError | OSError):
        _complain(f"trilby: {problem}")
    else:
        told = f"{type(problem).__name__}: {problem}"
        _complain(
            f"trilby: this is a fault of trilby's own, not yours ({told}); see it with --debug"
        )
        return FAULT
    return INPUT


def _closed() -> int:
    """Whoever read our output has read enough; nothing is left to say, and nothing went wrong."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return GOOD


def _complain(line: str) -> None:
    click.echo(" ".join(line.split()), err=True)
