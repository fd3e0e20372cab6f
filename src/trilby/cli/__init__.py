"""The command line `trilby`: results go to stdout, messages to stderr.

Exit codes: 0 ok, 1 a law is broken or the answer is no, 2 wrong usage or input, 3 a bug in trilby,
130 interrupted. Neither torch nor rich is imported before a command that needs it runs.
"""

from .door import main

__all__ = ["main"]
