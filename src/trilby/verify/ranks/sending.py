"""Functions and modules as bytes from which another process has them again.

A function or a class is sent by its name, and by its file where its module is one that was loaded
from a file and cannot be imported.
"""

import importlib.util
import io
import pickle
import sys
from importlib.machinery import PathFinder
from types import FunctionType
from typing import Any

from ...errors import CallError
from ..wording import first_line, label

INSTEAD = "put it into a file and give file.py:NAME to `trilby check`, or import it from there"


def packed(thing: Any, name: str) -> bytes:
    """A value as bytes; `name` is what an error calls it.

    Raises:
        CallError: another process could not import a function or a class of it.
    """
    target = io.BytesIO()
    pickler = _Pickler(target, name)
    try:
        pickler.dump(thing)
    except CallError:
        raise
    except Exception as error:
        raise CallError(
            f"check: {name} cannot be sent to another process, {first_line(error)}; give a "
            "function, or a class that makes it"
        ) from error
    return pickle.dumps((pickler.files, target.getvalue()))


def unpacked(data: bytes) -> Any:
    """The value, in the other process."""
    files, own = pickle.loads(data)
    for name, file in files.items():
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, file)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
    return pickle.loads(own)


class _Pickler(pickle.Pickler):
    """Looks at each function and class that is sent."""

    def __init__(self, target: io.BytesIO, name: str) -> None:
        super().__init__(target)
        self.name, self.files = name, dict[str, str]()  # module -> the file it was loaded from

    def reducer_override(self, thing: Any) -> Any:
        """Nothing is done in another way."""
        if isinstance(thing, FunctionType | type):
            self._looked_at(thing)
        return NotImplemented

    def _looked_at(self, thing: Any) -> None:
        home, path = thing.__module__, thing.__qualname__
        called = self.name if path == "<lambda>" else label(thing)
        if "<lambda>" in path or "<locals>" in path:
            kind = "a lambda" if "<lambda>" in path else "defined inside of a function"
            raise CallError(
                f"check: {called} is {kind}, which another process cannot import; {INSTEAD}"
            )
        if home == "__main__":
            raise CallError(
                f"check: {called} is defined in the program that runs (__main__), which another "
                f"process cannot import; {INSTEAD}"
            )
        file = getattr(sys.modules.get(home), "__file__", None)
        if file is None or "." in home:
            return
        spec = PathFinder.find_spec(home)
        if spec is None or spec.origin != file:
            self.files[home] = file
