"""Helper for commands that must fail: one line, exit code 2, and no new file."""

import os
from collections.abc import Callable


def refused(capsys, call: Callable[..., int], *arguments: object) -> str:
    """The message of the command."""
    before = sorted(os.listdir())
    capsys.readouterr()
    assert call(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1, told.err
    assert sorted(os.listdir()) == before
    return told.err
