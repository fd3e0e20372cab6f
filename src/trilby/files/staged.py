"""Files that are written completely or not at all."""

import os
import secrets
import stat
from contextlib import suppress
from typing import Any, BinaryIO, Self

from ..errors import FileError


class Staged:
    """A file that appears at `path` complete, or not at all.

    It is written under a temporary name in the folder of `path`: `.NAME.trilby-XXXXXXXX.tmp`.
    `seal` flushes every byte to the disk; `appear` renames it to `path`, replacing an older file.
    Leaving the `with` block before that removes it. A killed process leaves the temporary file
    behind and `path` unchanged. A symbolic link is followed; the mode of a replaced file is kept.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "y.txt"
    >>> with Staged(str(path)) as file:
    ...     written = file.write(b"all of it")
    ...     file.seal()
    ...     before = path.exists()
    ...     file.appear()
    >>> before, path.read_text()
    (False, 'all of it')

    Args:
        path: where it appears.
        token: the digits of the temporary name; None draws them.

    Raises:
        FileError: no such folder, no permission, not a regular file, or the disk is full.
    """

    def __init__(self, path: str, token: str | None = None) -> None:
        self.path, self.target = path, os.path.realpath(path)
        self.written = 0
        folder, name = os.path.split(self.target)
        self.folder = folder
        token = token or secrets.token_hex(4)
        self.temporary = os.path.join(folder, f".{name[:50]}.trilby-{token}.tmp")
        mode = _replaceable(path, self.target)
        try:
            self.file = self._open(mode)
        except BaseException:
            self._remove()
            raise

    def write(self, data: Any) -> int:
        """Write bytes; a full disk raises a FileError of one line."""
        try:
            self.written += self.file.write(data)
        except OSError as error:
            raise self.stopped(error) from error
        return len(data)

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self.file.seek(place, whence)
        except OSError as error:  # seeking writes out what was waiting
            raise self.stopped(error) from error

    def tell(self) -> int:
        return self.file.tell()

    def flush(self) -> None:
        try:
            self.file.flush()
        except OSError as error:
            raise self.stopped(error) from error

    @property
    def closed(self) -> bool:
        return self.file.closed

    def seal(self) -> None:
        """Flush every byte to the disk, still under the temporary name."""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
        except OSError as error:
            raise self.stopped(error) from error

    def appear(self) -> None:
        """Rename the sealed file to `path`, and flush the change to the disk."""
        os.replace(self.temporary, self.target)
        with suppress(OSError):  # some file systems cannot sync a folder; the file is in place
            folder = os.open(os.path.dirname(self.target), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # closing flushes, and the disk may still be full
            self.file.close()
        self._remove()

    def _open(self, mode: int | None) -> BinaryIO:
        try:
            descriptor = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            if mode is not None:
                os.chmod(self.temporary, mode)  # fchmod is not on every system
            return open(descriptor, "w+b")
        except OSError as error:
            folder = os.path.dirname(self.target)
            if not os.path.isdir(folder):
                raise FileError(
                    f"{self.path}: there is no folder {folder}; make it first"
                ) from error
            raise FileError(
                f"{self.path}: cannot be written ({error.strerror}); choose another place"
            ) from error

    def _remove(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.temporary)

    def stopped(self, error: OSError) -> FileError:
        """The error for a disk that is full."""
        return FileError(
            f"{self.path}: writing stopped after {self.written} bytes ({error.strerror}); "
            "the file is unchanged; free some space and run again"
        )


def _replaceable(path: str, target: str) -> int | None:
    """The mode of the file that will be replaced, None if there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror}); check the path") from error
    if not stat.S_ISREG(mode):
        raise FileError(f"{path}: is not a regular file and cannot be replaced; choose another")
    if not os.access(target, os.W_OK):
        raise FileError(f"{path}: no permission to replace it; choose another or make it writable")
    return stat.S_IMODE(mode)
