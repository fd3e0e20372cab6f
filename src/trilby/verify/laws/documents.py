"""Law 4, continued: documents packed into one row do not see each other."""

from collections.abc import Iterator
from typing import Any

from ..comparing.change import change, rounded
from ..comparing.finding import Finding, compare
from ..copies.nested import clone
from ..reproducers.script import Script
from ..sizes import Setting
from ..subjects.subject import Subject
from .law import Law
from .mixer_sizes import several_positions
from .module_sizes import marked


def documents(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Each document equals the document run alone, and the others may be rewritten (float64).

    In a form of a mixer the state enters the first document and leaves from the last, and a
    document alone is called without `documents=`.
    """
    judged, exact = subject.exact(setting)
    for state in judged.contract_states(exact):
        for lengths in _cuts(setting.T):
            yield from _packed(judged, exact, lengths, state)


def _cuts(T: int) -> list[tuple[int, ...]]:
    """Documents of even and of uneven lengths, single positions among them.

    >>> _cuts(7)
    [(3, 4), (1, 5, 1), (2, 1, 4)]
    """
    uneven = [(T // 2, T - T // 2), (1, T - 2, 1), (2, 1, T - 3)]
    return [lengths for lengths in uneven if min(lengths) > 0]


def _packed(
    subject: Subject, setting: Setting, lengths: tuple[int, ...], state: Any
) -> Iterator[Finding]:
    sequences = subject.draw(setting)
    packed = subject.packed(lengths)
    together = packed.leaves(sequences, state)
    y, start = together[0][1], 0
    for i, n in enumerate(lengths):
        here = slice(start, start + n)
        start += n
        than = f", as alone; document {i} of lengths {' '.join(map(str, lengths))}"
        alone = subject.one_document(n)
        try:
            wanted = alone.leaves(tuple(x[:, here] for x in sequences), None if i else state)
        except Exception as error:
            if subject.must_accept_every_call:
                raise
            note = f"it does not take a document of {n} alone, {type(error).__name__}"
            yield Finding("document", note=note)
            continue
        last = start == setting.T  # the state leaves from the last document
        got = [("y", y[:, here]), *(subject.compared(together)[1:] if last else [])]
        wanted = subject.compared(subject.extended(wanted, together)) if last else wanted[:1]
        where = dict(documents=lengths, document=i)
        yield compare("document", got, wanted, subject.logic, than).at(**where)
        yield _others(packed, setting, here, state, than).at(**where)


def _others(packed: Subject, setting: Setting, here: slice, state: Any, than: str) -> Finding:
    """The same document among others that were rewritten."""
    sequences, fresh = packed.draw(setting), packed.draw(setting.again(1))
    mixed = clone(fresh)
    for x, kept in zip(mixed, sequences, strict=True):
        x[:, here] = kept[:, here]
    y, after = packed.run(sequences, state)[0], packed.run(mixed, state)[0]
    moved = change(after, y, after[:, here], y[:, here])
    if moved.size == 0 or moved.tainted:
        return Finding("document")
    if packed.is_rounding(moved):
        return Finding("document", note=rounded("other documents"), units=moved.units)
    position = here.start + (moved.index[1] if len(moved.index) > 1 else 0)
    place = f"y[{moved.row}, {position}]"
    text = f"changes by {moved.size:.2g} when other documents are rewritten{than}"
    found = Finding("document", moved.size > 0, moved.size, 0.0, place, text)
    return found.at(row=moved.row, position=position)


def _reproduce(script: Script) -> list[str]:
    """The second of two documents, and that alone."""
    T, key = script.setting.T, script.user.documents
    n = max(T // 2, 1)
    packed, alone = (script.documents(lengths) for lengths in ((n, T - n), (T - n,)))
    return [
        f"a = {script.call('', f'{key}={packed}')}[:, {n}:]",
        f"b = {script.call(f'[:, {n}:]', f'{key}={alone}')}",
        "print((a - b).abs().max())  # rounding, if documents are apart",
    ]


LAW = Law("documents", documents, several_positions, marked, _reproduce)
