"""The entry point of the command line: it runs a command and returns an exit code."""

import errno
import gc
import os
import sys
import traceback
from collections.abc import Sequence

import click

from ..errors import TrilbyError
from .group import PipeClosed, trilby

GOOD, BAD, INPUT, FAULT, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `trilby` with these arguments (by default those of the process); return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = trilby.main(given, prog_name="trilby", standalone_mode=False)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt) as interrupt:
        _complain("trilby: interrupted")
        _let_go(interrupt)
        return INTERRUPTED
    except BrokenPipeError:
        return _closed()
    except Exception as problem:
        if "--debug" in given and not isinstance(problem, click.ClickException | PipeClosed):
            raise
        return _excuse(problem)
    return code if isinstance(code, int) else GOOD


def _excuse(problem: Exception) -> int:
    """Print one line about what went wrong; return the exit code."""
    if isinstance(problem, PipeClosed):
        return _closed()
    if isinstance(problem, click.UsageError):
        where = problem.ctx.command_path if problem.ctx else "trilby"
        _complain(f"{where}: {problem.format_message()} (see {where} --help)")
    elif isinstance(problem, click.ClickException):
        _complain(f"trilby: {problem.format_message()}")
    elif isinstance(problem, OSError) and problem.errno == errno.ENOSPC and not problem.filename:
        _complain(f"trilby: the output cannot be written ({problem.strerror}); free some space")
    elif isinstance(problem, TrilbyError | OSError):
        _complain(f"trilby: {problem}")
    else:
        told = f"{type(problem).__name__}: {problem}"
        _complain(f"trilby: this is a bug in trilby ({told}); --debug shows the traceback")
        return FAULT
    return INPUT


def _let_go(interrupt: BaseException) -> None:
    """Free what the interrupt left half made, with no word of its destructors.

    An interrupt inside a constructor (numba's compiler has many) leaves an object without some of
    its fields. Its `__del__` raises, and Python would print that below our one line.
    """
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        raised: BaseException | None = interrupt
        while raised is not None:
            traceback.clear_frames(raised.__traceback__)
            raised = raised.__cause__ or raised.__context__
        gc.collect()
    finally:
        sys.unraisablehook = hook


def _closed() -> int:
    """The reader closed our output, as `head` does. This is not an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return GOOD


def _complain(line: str) -> None:
    click.echo(" ".join(line.split()), err=True)
