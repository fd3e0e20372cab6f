"""Call a function as soon as torch has been imported, without importing torch.

`torch.export.load` and `torch.jit.load` find an operator only if it is registered before. They know
its name and not its package, so nothing of trilby would be imported in time.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any


def after_torch(
    then: Callable[[], object], users: Sequence[str] = (), torch: str = "torch"
) -> None:
    """Call `then` now if torch has been imported, else at the end of its import.

    Until torch is imported, a finder stands first in `sys.meta_path`. It finds what the other
    finders find, and it removes itself when torch is there.

    Args:
        then: takes nothing; it may import the users.
        users: modules that import torch. Before one of them is loaded torch is imported: if it were
            imported by a user, `then` would find that user half loaded.
        torch: the name of the module that is waited for.

    >>> done = []
    >>> after_torch(lambda: done.append(1))  # torch is there
    >>> done
    [1]
    """
    if sys.modules.get(torch) is not None:
        then()
    else:
        sys.meta_path.insert(0, _Finder(then, users, torch))


class _Finder:
    def __init__(self, then: Callable[[], object], users: Sequence[str], torch: str) -> None:
        self.then, self.users, self.torch = then, users, torch

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """What the other finders say. A loader of torch or of a user does more, once."""
        if name != self.torch and name not in self.users:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((found for found in specs if found is not None), None)
        if spec is not None and spec.loader is not None:
            (self._torch if name == self.torch else self._user)(spec.loader)
        return spec

    def _torch(self, loader: Any) -> None:
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # as it was before
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                self.then()

        loader.exec_module = exec_module

    def _user(self, loader: Any) -> None:
        create = loader.create_module

        def create_module(spec: Any) -> ModuleType | None:
            del loader.create_module  # as it was before
            import_module(self.torch)
            loaded = sys.modules.get(spec.name)  # by `then`
            if loaded is None:
                return create(spec)
            loader.exec_module = done
            return loaded

        def done(_: ModuleType) -> None:
            del loader.exec_module

        loader.create_module = create_module
