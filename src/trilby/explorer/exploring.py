"""`trilby.explore`: read what was given, unfold or measure it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from ..card import Mixer
from ..errors import CallError
from .choosing import MOST, Chosen
from .exhibits import fingerprints
from .explored import Explored
from .layers import layers
from .measuring import measured
from .models import Model, model_of, read
from .naming import Named, named
from .positions import positions
from .story import STEPS
from .story import story as told
from .timing import timed
from .triangle import Subject
from .unfolding import unfolded


def explore(
    subjects: Any = None,
    x: str | Tensor | None = None,
    T: int | None = None,
    *,
    tokens: Sequence[str] | None = None,
    layer: int | Sequence[int] | None = None,
    head: int | Sequence[int] | None = None,
    bench: bool = False,
    gallery: bool = False,
    story: bool = False,
) -> Explored:
    """See what each position reads: the triangle of any mixer, exact, or of any module, measured.

    Args:
        subjects: one or a list of: a mixer by name, with numbers after a colon, as in "ema:0.95" or
            "attention:window=8"; a mixer; a module or function that takes x and returns
            [1, T, ...]; or a causal language model of transformers, alone: itself, or its folder.
        x: data by name ("sonnets", "sunspots", "nile", "co2"; without x and tokens the sonnets), or
            floats [1, T, C]. For a model any text, which its tokenizer reads, or ids [1, T].
        T: how many positions, the first ones; by default 256 of a text, and all of numbers.
        tokens: what stands at each position, T texts; without x each token gets a value.
        layer, head: of a model, one number or several from 0; None is as many as fit a page. Where
            each channel has weights of its own, as in Mamba, it counts as a head.
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
    A model is run once. What its layers hand to attention, to the delta rule or to a scan is
    unfolded head by head, and checked against what they get back.

    Raises:
        CallError, NumberError: no such name, more than 4096 positions, numbers that are not
            finite, too many triangles, a module that refuses x, nothing to time, or a story with
            something else to show.
        FileError: a folder without a model.

    Cost: that of `weights`, O(T^2) memory; of a module T calls and T backward passes. `bench` takes
    up to half a minute for each mixer, `gallery` about a second.

    >>> shown = trilby.explore(["mean", "ema:0.5"], tokens="abc")
    >>> shown.row(2)["ema:0.5"].tolist()
    [0.25, 0.25, 0.5]
    >>> shown.ok
    True
    """
    shown = _shown(subjects, (x, T, tokens), (layer, head), bench, story)
    if not gallery:
        return shown
    return replace(shown, python=f"{shown.python[:-1]}, gallery=True)", gallery=fingerprints())


Reads = tuple[Any, int | None, Sequence[str] | None]  # x, T and tokens


def _shown(
    subjects: Any, reads: Reads, parts: tuple[Chosen, Chosen], bench: bool, story: bool
) -> Explored:
    """The story, a model, or mixers and modules."""
    if story:
        return _walk((subjects, *reads, *parts, bench or None))
    several = isinstance(subjects, list | tuple)
    every = [] if subjects is None else list(subjects) if several else [subjects]
    model = next(filter(None, map(model_of, every)), None)
    if model is not None:
        if len(every) > 1:
            raise CallError(f"explore: {model.name} is one of {len(every)}; give a model alone")
        if bench:
            raise CallError(
                f"explore: bench times the forms of a mixer, and {model.name} is a model; drop "
                "bench=True"
            )
        return _model(model, reads, *parts)
    if any(each is not None for each in parts):
        raise CallError(
            "explore: layer and head choose parts of a model of transformers; drop them"
        )
    return _each([named(each) for each in every], several, reads, bench)


def _each(given: list[Named], several: bool, reads: Reads, bench: bool) -> Explored:
    """Mixers and modules over the same positions."""
    if not given:
        raise CallError("explore: there is nothing to show; give a mixer or a module")
    x, T, tokens = reads
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
    timing = ", bench=True" if bench else ""
    python = f"trilby.explore({call}, {_said(where.said, len(where.tokens))}{timing})"
    return Explored(found, where, python, len(where.tokens) - 1)


def _timed(subject: Subject, given: Named) -> Subject:
    return replace(subject, growth=timed(given)) if isinstance(given.target, Mixer) else subject


def _walk(others: tuple[Any, ...]) -> Explored:
    """The story, which is all that is shown."""
    if any(each is not None for each in others):
        raise CallError(
            "explore: story=True chooses what is shown, and something else is given with it; drop "
            "that, or story=True"
        )
    where, found = told()
    return Explored(found, where, "trilby.explore(story=True)", STEPS[0].row, steps=STEPS)


def _model(given: Model, reads: Reads, layer: Chosen, head: Chosen) -> Explored:
    """The layers of a model over the ids that it reads."""
    ids, where = read(given, *reads)
    subject = layers(given, ids, layer, head)
    said = {"x": where.said or None, "T": ids.shape[1], "layer": layer, "head": head}
    python = ", ".join(f"{name}={value}" for name, value in said.items() if value is not None)
    return Explored(
        (subject,), where, f"trilby.explore({given.python}, {python})", ids.shape[1] - 1
    )


def _said(said: str, T: int) -> str:
    if said == "tokens":
        return "tokens=tokens"
    return f"x={said}, T={T}"
