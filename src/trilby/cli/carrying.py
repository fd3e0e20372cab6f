"""The options of `trilby check` that say how a module keeps its state between calls."""

from collections.abc import Callable
from typing import Any

import click

from .target import loaded

WAYS = {  # option -> what else can be said of that way
    "state": ("start", "one"),
    "past": ("one",),
    "cache": ("start", "one"),
    "prefix": ("start",),
    "step": ("start", "chunk", "keep_time", "multiple", "exactly"),
    "chunk": ("start", "multiple", "exactly"),
    "inside": ("reset",),
    "reset": (),
}
EXTRAS = ("start", "one", "keep_time", "multiple", "exactly")
OPTIONS = (
    click.option("--state", help="Keyword of a state that is passed in and returned."),
    click.option("--past", help="Keyword of a cache, e.g. past_key_values."),
    click.option("--cache", help="Keyword of a cache that is changed in place; needs --start."),
    click.option("--prefix", help="Keyword of a cache; every call gets all positions so far."),
    click.option("--step", help="Method that takes one position and the state."),
    click.option("--chunk", help="Method that takes several positions and the state."),
    click.option("--inside", is_flag=True, help="The state is kept inside the module."),
    click.option("--reset", help="Method that empties a state inside the module."),
    click.option("--start", help="What makes the first state: a method, or package.module:name."),
    click.option("--one", is_flag=True, help="Calls that continue take one position only."),
    click.option("--keep-time", is_flag=True, help="--step takes [B, 1, ...], not [B, ...]."),
    click.option("--multiple", type=click.IntRange(1), help="--chunk takes multiples of it."),
    click.option("--exactly", type=click.IntRange(1), help="--chunk takes this many positions."),
)


def carry_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options, in order."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def carried(said: dict[str, Any]) -> dict[str, Any]:
    """The keyword `carry` of `trilby.check`, or nothing; options that disagree are one line."""
    named = [w for w in WAYS if said[w]]
    way = named[0] if named else None
    for other in named[1:]:
        if other not in WAYS[str(way)]:
            raise click.UsageError(f"{_said(way)} and {_said(other)} are both given; choose one")
    for extra in EXTRAS:
        if said[extra] and (way is None or extra not in WAYS[way]):
            ways = " or ".join(_said(w) for w in WAYS if extra in WAYS[w])
            raise click.UsageError(f"{_said(extra)} is given without {ways}; name one of these")
    if way == "cache" and not said["start"]:
        raise click.UsageError("--cache needs --start, the method that makes an empty cache")
    return {} if way is None else {"carry": _made(way, said)}


def _made(way: str, said: dict[str, Any]) -> Any:
    from .. import streaming

    start = said["start"]
    start = loaded(start) if start and ":" in start else start
    one = {"one": said["one"]}
    if way == "state":
        return streaming.by_state(said["state"], start, **one)
    if way == "past":
        return streaming.by_past(said["past"], **one)
    if way == "cache":
        return streaming.by_cache(said["cache"], start=start, **one)
    if way == "prefix":
        return streaming.by_prefix(said["prefix"], start=start)
    if way in ("inside", "reset"):
        return streaming.by_module(said["reset"])
    if said["multiple"] and said["exactly"]:
        raise click.UsageError("--multiple and --exactly are both given; choose one")
    how = dict(multiple=said["multiple"] or 1, exactly=said["exactly"])
    steps = (said["step"], said["chunk"])
    if said["chunk"] is None and how != dict(multiple=1, exactly=None):
        raise click.UsageError("--multiple and --exactly are for --chunk; name that method")
    return streaming.by_methods(start or "init_state", *steps, keep_time=said["keep_time"], **how)


def _said(option: str | None) -> str:
    return f"--{str(option).replace('_', '-')}"
