"""A mixer as exact triangles, and its forms side by side."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..card import Mixer
from ..errors import CallError
from .naming import Named
from .positions import Positions
from .programs import forms, held, part
from .triangle import Subject, Triangle

INNER = 8  # size of an axis that sequences share and y does not have, such as that of the keys
MOST = 64  # triangles of one mixer
ONE = 1e-9  # that the sum of a row may be away from 1, in float64


def unfolded(given: Named, where: Positions, own: bool = False) -> Subject:
    """Its triangles, by its own `weights`, and its forms.

    Args:
        own: whether these positions are other ones than those of the page.

    Raises:
        CallError: it has too many triangles.
        NumberError: a weight that is not finite, or a parameter out of its range.

    Cost: that of `weights`, and of every form at up to 128 positions in three dtypes.
    """
    assert isinstance(given.target, Mixer)
    mixer = given.target
    arguments = drawn(mixer, where, given.arguments)
    _few(mixer, arguments)
    weights = mixer.weights(**arguments)
    explained = weights.on(arguments[mixer.contract.values])
    y, _ = mixer(**arguments)
    triangles = _triangles(given.name, weights.wei, y, explained, _fact(mixer, where, weights.wei))
    if own:
        triangles = tuple(replace(each, where=where) for each in triangles)
    tried = f"The future was rewritten at {len(cuts(where))} cuts, and no earlier output changed"
    early = _changed(mixer, arguments, y, where)
    if early is not None:
        tried = f"Rewriting the positions from {early} on changes an earlier output"
    return Subject(
        given.name,
        given.python,
        triangles,
        forms=forms(mixer, arguments),
        holds=held(mixer, arguments),
        tried=tried,
        linear=True,
        early=early,
    )


def drawn(mixer: "Mixer[..., Any]", where: Positions, said: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a call. The mixer draws a row of vectors for each kind of position.

    So equal tokens have equal queries, keys and gates, and each is in the range that it must have.
    """
    contract = mixer.contract
    axes = (contract.arguments[contract.values].axes or ())[2:]
    size = {axes[-1]: where.values.shape[2], **dict.fromkeys(axes[:-1], 1)}
    inner = {a for n in contract.sequences for a in contract.arguments[n].axes or ()}
    size |= {a: INNER for a in contract.own if a in inner and a not in size}
    table = mixer.draw(B=1, T=int(where.kinds.max()) + 1, **size, seed=0, dtype=torch.float64)
    found = contract.named(table)
    for name in contract.sequences:
        if name in found and found[name] is not None:
            found[name] = found[name][:, where.kinds]
    found[contract.values] = where.values.reshape(found[contract.values].shape)
    return found | said


def cuts(where: Positions) -> list[int]:
    """Where the future is rewritten: the middle of 2, 4 and 8 parts, and both ends."""
    T = where.values.shape[1]
    return sorted({1, T - 1, *(T * i // 8 for i in range(1, 8))} & {*range(1, T)})


def _changed(
    mixer: "Mixer[..., Any]", arguments: dict[str, Any], y: Tensor, where: Positions
) -> int | None:
    """The first cut after which other sequences change an earlier output, bit for bit."""
    for cut in cuts(where):
        other = dict(arguments)
        for name in mixer.contract.sequences:
            if isinstance(other.get(name), Tensor):
                later = other[name][:, cut:].flip(1)
                later = later + later.sign() if name == mixer.contract.values else later
                other[name] = torch.cat([other[name][:, :cut], later], 1)
        if not torch.equal(mixer(**other)[0][:, :cut], y[:, :cut]):
            return cut
    return None


def _few(mixer: "Mixer[..., Any]", arguments: dict[str, Any]) -> None:
    """A CallError where there would be too many triangles, before they are made."""
    contract = mixer.contract
    wei = mixer.weights(**part(mixer, arguments, slice(1))).wei
    T = contract.length(arguments[contract.sequences[0]]) or 0
    count = wei.shape[1] if wei.ndim == 4 else 1
    if count > MOST:
        raise CallError(
            f"explore: {mixer.name} has {count} triangles of {T} x {T} here, "
            f"{8 * count * T * T / 1e9:.2g} GB in float64, and at most {MOST} are shown; "
            f"give fewer channels, e.g. x[..., :{MOST}]"
        )


def _fact(mixer: "Mixer[..., Any]", where: Positions, wei: Tensor) -> str:
    """What the numbers are, which sign they have, and what a row adds up to."""
    sums = wei.sum(-1)
    said = [f"The exact weights of {mixer.name}, y = w x, as it computes them."]
    one = bool(((sums - 1).abs() < ONE).all())
    said.append("Each row adds up to 1." if one else "A row need not add up to 1.")
    if bool((wei < 0).any()):
        said.append("Weights have either sign.")
    said.append("The page normalises nothing.")
    if len(mixer.contract.needed) > 1:
        kind = "level" if where.given else "token"
        said.append(f"What it takes beside x is drawn for each {kind}, untrained.")
    return " ".join(said)


def _triangles(
    name: str, wei: Tensor, y: Tensor, explained: Tensor, fact: str
) -> tuple[Triangle, ...]:
    """[1, T, T] is one; [1, N, T, T] is one for each head or channel, unless all are equal."""
    y, explained = (each[0].reshape(*each.shape[1:3], -1)[..., 0] for each in (y, explained))
    if wei.ndim == 3:
        return (Triangle(name, wei[0], False, fact, y[:, 0], explained[:, 0]),)
    count = wei.shape[1]
    if count == 1 or bool((wei == wei[:, :1]).all()):
        fact += f" All {count} channels have this one." if count > 1 else ""
        return (Triangle(name, wei[0, 0], False, fact, y[:, 0], explained[:, 0]),)
    return tuple(
        Triangle(f"{name} {i}", wei[0, i], False, fact, y[:, i], explained[:, i])
        for i in range(count)
    )
