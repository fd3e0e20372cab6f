"""Open an existing file, with a clear error for everything that can be wrong with it."""

import os
import stat
from typing import BinaryIO

from ..errors import FileError


def open_regular(path: str) -> tuple[BinaryIO, int]:
    """The file at `path` and its size in bytes, which is not 0.

    Raises:
        FileError: the file does not exist, is a directory, a pipe or empty, or cannot be read.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115  # the caller closes it
    except FileNotFoundError as error:
        raise FileError(f"{path}: there is no such file; check the path") from error
    except IsADirectoryError as error:
        raise FileError(f"{path}: is a directory, expected a file") from error
    except PermissionError as error:
        raise FileError(f"{path}: no permission to read it; ask its owner for it") from error
    except OSError as error:
        raise FileError(f"{path}: cannot be opened ({error.strerror}); check the path") from error
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return file, status.st_size
    file.close()
    if stat.S_ISREG(status.st_mode):
        raise FileError(f"{path}: is empty (0 bytes); write it again")
    raise FileError(f"{path}: is not a regular file; pass a pipe as csv with '-'")
