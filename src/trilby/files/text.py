"""Text as a sequence: one position per character, one-hot over an alphabet."""

import codecs
from collections.abc import Iterator

import numpy as np

from ..errors import FileError
from .opening import open_regular
from .sequence import Block, Layout, Source

_READ = 1 << 18  # bytes at a time


class Text(Source):
    """A UTF-8 text as `[T, C]` float32: column c is 1 where the text has the c-th character.

    The default alphabet is every character of the text, in the order of code points.
    The text is read twice: once for T and the alphabet, once for the blocks. Nothing is
    translated: a carriage return is a character, and a byte order mark too.
    """

    def __init__(self, path: str, alphabet: str | None = None) -> None:
        self.name = path
        self.file, self.size = open_regular(path)
        try:
            if alphabet is not None and len(set(alphabet)) < len(alphabet):
                raise FileError(f"{path}: the alphabet names a character twice; name each once")
            length, found = self._survey(alphabet)
        except BaseException:
            self.file.close()
            raise
        letters = alphabet if alphabet is not None else "".join(map(chr, sorted(found)))
        codes = np.array([ord(letter) for letter in letters], dtype=np.uint32)
        self.order = np.argsort(codes)  # [C] from the sorted alphabet to the given one
        self.codes = codes[self.order]
        self.layout = Layout((length, len(letters)), "float32", tuple(letters))

    def blocks(self, steps: int | None = None) -> Iterator[Block]:
        steps = steps or self.layout.steps()
        held = np.empty(0, np.uint32)
        self.done = 0
        for codes in self._characters():
            held = np.concatenate([held, codes])
            while len(held) >= steps:
                yield self._block(held[:steps])
                held = held[steps:]
        if len(held):
            yield self._block(held)

    def close(self) -> None:
        self.file.close()

    def _survey(self, alphabet: str | None) -> tuple[int, set[int]]:
        """The number of characters, and the distinct ones; all must be in the alphabet."""
        allowed = None if alphabet is None else {ord(letter) for letter in alphabet}
        length, found = 0, set[int]()
        for codes in self._characters():
            found.update(np.unique(codes).tolist())
            if allowed is not None and (strange := found - allowed):
                letter = chr(min(strange))
                place = length + int(np.flatnonzero(codes == ord(letter))[0])
                raise FileError(
                    f"{self.name}: character {place} is {letter!r}, which is not in the alphabet "
                    f"of {len(allowed)}; give one with --alphabet that has it"
                )
            length += len(codes)
        return length, found

    def _characters(self) -> Iterator[np.ndarray]:
        """Yield the code points of the text in pieces."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        self.file.seek(0)
        while True:
            data = self.file.read(_READ)
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                place = self.file.tell() - len(error.object) + error.start
                raise FileError(
                    f"{self.name}: is not UTF-8 text (byte {place}: {error.reason}); check the type"
                ) from error
            yield np.frombuffer(text.encode("utf-32-le"), "<u4")
            if not data:
                return
            self.done += len(data)

    def _block(self, codes: np.ndarray) -> Block:
        values = np.zeros((1, len(codes), self.layout.C), np.float32)
        columns = self.order[np.searchsorted(self.codes, codes)]  # [steps]
        values[0, np.arange(len(codes)), columns] = 1
        return Block(slice(0, 1), values)
