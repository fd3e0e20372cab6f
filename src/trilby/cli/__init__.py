"""The command line `trilby`: results on stdout, talk on stderr.

Exit codes: 0 good, 1 the thing asked about is bad, 2 usage or input, 3 a fault of trilby's own,
130 interrupted. Neither torch nor rich is imported before a command that needs it runs.
"""

from .door import main

__all__ = ["main"]
