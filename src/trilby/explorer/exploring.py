"""`trilby.explore`: read what was given, unfold or measure it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from ..card import Mixer
from ..errors import CallError
from .exhibits import fingerprints
from .explored import Explored
from .measuring import measured
from .naming import Named, named
from .positions import positions
from .story import STEPS
from .story import story as told
from .timing import timed
from .triangle import Subject
from .unfolding import unfolded

MOST = 256  # triangles of one page


def explore(
    subjects: Any = None,
    x: str | Tensor | None = None,
    T: int | None = None,
    *,
    tokens: Sequence[str] | None = None,
    bench: bool = False,
    gallery: bool = False,
    story: bool = False,
) -> Explored:
    """See what each position reads: the triangle of any mixer, exact, or of any module, measured.

    Args:
        subjects: one or a list of: a mixer by name, with numbers after a colon, as in "ema:0.95" or
            "attention:window=8"; a mixer; a module or function that takes x and returns
            [1, T, ...].
        x: data by name ("sonnets", "sunspots", "nile", "co2"; without x and tokens the sonnets), or
            floats [1, T, C].
        T: how many positions, the first ones; by default 256 of a text, and all of numbers.
        tokens: what stands at each position, T texts; without x each token gets a value.
        bench: time every form of each mixer at lengths from 64 to 4096, in float32 and with inputs
            of its own. A form that does not agree there is not timed.
        gallery: measure the modules of the gallery that read the future, to compare with.
        story: the walk from the mean to the delta rule; it chooses what is shown, and is given
            alone.

    Returns:
        shown: prints itself, shows itself in a notebook, and has `save`, `row` and `at`.

    A mixer is unfolded by its own `weights`: `y = w x` exactly. What it needs beside x is drawn for
    each token by the mixer's own `draw`, so that equal tokens have equal queries and keys. A module
    is measured by the verifier: which outputs change when one position is rewritten, and gradients.

    Raises:
        CallError, NumberError: no such name, more than 4096 positions, numbers that are not
            finite, too many triangles, a module that refuses x, nothing to time, or a story with
            something else to show.

    Cost: that of `weights`, O(T^2) memory; of a module T calls and T backward passes. `bench` takes
    up to half a minute for each mixer, `gallery` about a second.

    >>> shown = trilby.explore(["mean", "ema:0.5"], tokens="abc")
    >>> shown.row(2)["ema:0.5"].tolist()
    [0.25, 0.25, 0.5]
    >>> shown.ok
    True
    """
    if story:
        return _walk(subjects, x, T, tokens, bench, gallery)
    several = isinstance(subjects, list | tuple)
    given = [] if subjects is None else list(subjects) if several else [subjects]
    given = [named(each) for each in given]
    if not given:
        raise CallError("explore: there is nothing to show; give a mixer or a module")
    where = positions("sonnets" if x is None and tokens is None else x, T, tokens)
    if bench and not any(isinstance(each.target, Mixer) for each in given):
        raise CallError(
            "explore: bench times the forms of a mixer, and none is given; drop bench=True"
        )
    found = tuple(
        unfolded(each, where) if isinstance(each.target, Mixer) else measured(each, where)
        for each in given
    )
    count = sum(len(subject.triangles) for subject in found)
    if count > MOST:
        raise CallError(
            f"explore: there are {count} triangles, at most {MOST} fit a page; give fewer"
        )
    if bench:
        found = tuple(_timed(one, each) for one, each in zip(found, given, strict=True))
    names = ", ".join(each.python for each in given)
    call = f"[{names}]" if several else names
    more = "".join(f", {n}=True" for n, on in (("bench", bench), ("gallery", gallery)) if on)
    python = f"trilby.explore({call}, {_said(where.said, len(where.tokens))}{more})"
    last = len(where.tokens) - 1
    return Explored(found, where, python, last, fingerprints() if gallery else ())


def _timed(subject: Subject, given: Named) -> Subject:
    return replace(subject, growth=timed(given)) if isinstance(given.target, Mixer) else subject


def _walk(
    subjects: Any, x: Any, T: int | None, tokens: Any, bench: bool, gallery: bool
) -> Explored:
    """The story, which is all that is shown."""
    if bench or any(each is not None for each in (subjects, x, T, tokens)):
        raise CallError(
            "explore: story=True chooses what is shown, and something else is given with it; drop "
            "that, or story=True"
        )
    where, found = told()
    python = f"trilby.explore(story=True{', gallery=True' if gallery else ''})"
    shown = Explored(found, where, python, STEPS[0].row, fingerprints() if gallery else ())
    return replace(shown, steps=STEPS)


def _said(said: str, T: int) -> str:
    if said == "tokens":
        return "tokens=tokens"
    return f"x={said}, T={T}"
