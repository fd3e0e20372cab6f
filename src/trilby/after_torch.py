"""Call a function as soon as torch has been imported, without importing torch.

`torch.export.load` and `torch.jit.load` find an operator only if it is registered before. They know
its name and not its package, so nothing of trilby would be imported in time.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

NAME = "torch"


def after_torch(then: Callable[[], object]) -> None:
    """Call `then` now if torch has been imported, else at the end of its import.

    Until torch is imported, a finder stands first in `sys.meta_path`. It answers for torch alone,
    with what the other finders say, and it removes itself.

    >>> done = []
    >>> after_torch(lambda: done.append(1))  # torch is there
    >>> done
    [1]
    """
    if sys.modules.get(NAME) is not None:
        then()
    else:
        sys.meta_path.insert(0, _Finder(then))


class _Finder:
    def __init__(self, then: Callable[[], object]) -> None:
        self.then = then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """What the other finders say; for torch, its loader calls `then` once, at the end."""
        if name != NAME:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((found for found in specs if found is not None), None)
        loader: Any = None if spec is None else spec.loader
        if loader is None:
            return spec
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # as it was before
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                self.then()

        loader.exec_module = exec_module
        return spec
