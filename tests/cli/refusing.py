"""A command that must fail: one line, exit code 2, and nothing new in the folder."""

import os
from collections.abc import Callable


def refused(capsys, call: Callable[..., int], *arguments: object) -> str:
    """What it says."""
    before = sorted(os.listdir())
    capsys.readouterr()
    assert call(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1, told.err
    assert sorted(os.listdir()) == before
    return told.err
