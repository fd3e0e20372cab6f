"""Every exception trilby raises on purpose. Imports nothing of ours.

Each message is one line: the call, the argument, its value, and what to do.
"""


class TrilbyError(Exception):
    """Any error that trilby raises on purpose; catch this one to catch them all."""


class ShapeError(TrilbyError, ValueError):
    """A tensor does not have the rank or the axes that its contract names."""


class DtypeError(TrilbyError, TypeError):
    """An argument is not a tensor, or its dtype or device is not one that the call takes."""


class NumberError(TrilbyError, ValueError):
    """A number outside of the range that its argument may have."""


class StateError(TrilbyError, ValueError):
    """A state that no past could have left behind, or that belongs to another call."""


class DocumentError(TrilbyError, ValueError):
    """Ids of documents that decrease along a row, so that a document would come back."""


class CallError(TrilbyError, TypeError):
    """Arguments that the call does not take, or that it lacks."""


class FormError(TrilbyError, ValueError):
    """A form that does not exist, or that cannot run here."""


class KernelError(TrilbyError, RuntimeError):
    """A kernel that could not be compiled or loaded on this machine."""


class FileError(TrilbyError, OSError):
    """A file that cannot be read as what it claims to be, or cannot be written."""


class RankError(TrilbyError, RuntimeError):
    """Processes that share a sequence and do not make the same call."""
