"""Law 4, continued: documents packed into one row do not see each other."""

from collections.abc import Iterator

from torch import Tensor

from ..change import change, rounded
from ..finding import Finding, compare
from ..nest import clone
from ..subject import Subject
from ..sweep import Setting


def documents(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Each document equals the document run alone, and the others may be rewritten (float64)."""
    judged, exact = subject.exact(setting)
    for lengths in _cuts(setting.T):
        yield from _packed(judged, exact, lengths)


def _cuts(T: int) -> list[tuple[int, ...]]:
    """Documents of even and of uneven lengths, single positions among them.

    >>> _cuts(7)
    [(3, 4), (1, 5, 1), (2, 1, 4)]
    """
    uneven = [(T // 2, T - T // 2), (1, T - 2, 1), (2, 1, T - 3)]
    return [lengths for lengths in uneven if min(lengths) > 0]


def _packed(subject: Subject, setting: Setting, lengths: tuple[int, ...]) -> Iterator[Finding]:
    sequences = subject.draw(setting)
    packed = subject.packed(lengths)
    y = packed.run(sequences)[0]
    start = 0
    for i, n in enumerate(lengths):
        here = slice(start, start + n)
        start += n
        alone = tuple(x[:, here].clone() for x in sequences)
        than = f", as alone; document {i} of lengths {' '.join(map(str, lengths))}"
        try:
            wanted = subject.packed((n,)).run(alone)[0]
        except Exception as error:
            told = f"it does not take a document of {n} alone, {type(error).__name__}"
            yield Finding("document", note=told)
            continue
        yield compare("document", [("y", y[:, here])], [("y", wanted)], subject.logic, than)
        yield _others(packed, setting, here, y, than)


def _others(packed: Subject, setting: Setting, here: slice, y: Tensor, than: str) -> Finding:
    """The same document among others that were rewritten."""
    sequences, fresh = packed.draw(setting), packed.draw(setting.again(1))
    mixed = clone(fresh)
    for x, kept in zip(mixed, sequences, strict=True):
        x[:, here] = kept[:, here]
    after = packed.run(mixed)[0]
    moved = change(after, y, after[:, here], y[:, here])
    if moved.size == 0 or moved.tainted:
        return Finding("document")
    if not packed.strict and moved.small:
        return Finding("document", note=rounded("other documents"), units=moved.units)
    place = f"y[{moved.row}, {here.start + (moved.index[1] if len(moved.index) > 1 else 0)}]"
    text = f"changes by {moved.size:.2g} when other documents are rewritten{than}"
    return Finding("document", moved.size > 0, moved.size, 0.0, place, text)
