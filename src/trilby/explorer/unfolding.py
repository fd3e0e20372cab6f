"""A mixer as exact triangles, and its forms side by side."""

import inspect
from typing import Any

import torch
from torch import Tensor

from ..card import Mixer
from ..errors import CallError, FormError, KernelError
from ..forms import cost
from .naming import Named
from .positions import Positions
from .triangle import Form, Subject, Triangle

INNER = 8  # size of an axis that sequences share and y does not have, such as that of the keys
MOST = 64  # triangles of one mixer
TRIED = 128  # positions that every form is run at
DTYPES = (torch.float64, torch.float32, torch.bfloat16)
AGREE = 2.0**-30  # right forms differ by some 2^-50 in float64, and a wrong one by far more

Arguments = tuple[Any, ...]


def unfolded(given: Named, where: Positions) -> Subject:
    """Its triangles, by its own `weights`, and its forms.

    Raises:
        CallError: it has too many triangles.
        NumberError: a weight that is not finite, or a parameter out of its range.

    Cost: that of `weights`, and of every form at TRIED positions in three dtypes.
    """
    assert isinstance(given.target, Mixer)
    mixer = given.target
    arguments = drawn(mixer, where, given.arguments)
    _few(mixer, arguments)
    weights = mixer.weights(**arguments)
    explained = weights.on(arguments[mixer.contract.values])
    y, _ = mixer(**arguments)
    triangles = _triangles(given.name, weights.wei, y, explained, _fact(mixer, where))
    tried = f"The future was rewritten at {len(cuts(where))} cuts, and no earlier output changed"
    early = _changed(mixer, arguments, y, where)
    if early is not None:
        tried = f"Rewriting the positions from {early} on changes an earlier output"
    return Subject(
        given.name, given.python, triangles, _forms(mixer, arguments), (), tried, True, early
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
    short = {n: a[:, :1] if n in contract.sequences and isinstance(a, Tensor) else a
             for n, a in arguments.items()}  # fmt: skip
    wei = mixer.weights(**short).wei
    T = contract.length(arguments[contract.sequences[0]]) or 0
    count = wei.shape[1] if wei.ndim == 4 else 1
    if count > MOST:
        raise CallError(
            f"explore: {mixer.name} has {count} triangles of {T} x {T} here, "
            f"{8 * count * T * T / 1e9:.2g} GB in float64, and at most {MOST} are shown; "
            f"give fewer channels, e.g. x[..., :{MOST}]"
        )


def _fact(mixer: "Mixer[..., Any]", where: Positions) -> str:
    drawn = "" if len(mixer.contract.needed) == 1 else (
        f" Its other sequences are drawn for each {'level' if where.given else 'token'}, untrained."
    )  # fmt: skip
    return f"The exact weights of {mixer.name}, as they are: y = w x. Nothing is normalised.{drawn}"


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


def _forms(mixer: "Mixer[..., Any]", arguments: dict[str, Any]) -> tuple[Form, ...]:
    """Every form at no more than TRIED positions, beside the loop in float64."""
    contract = mixer.contract
    short = {n: a[:, :TRIED] if n in contract.sequences and isinstance(a, Tensor) else a
             for n, a in arguments.items()}  # fmt: skip
    truth = mixer.loop(**short)[0]
    top = float(truth.abs().max()) or 1.0
    found = []
    for name, form in mixer.forms.items():
        outputs: dict[str, Tensor | None] = {}
        for dtype in DTYPES:
            cast = {n: a.to(dtype) if isinstance(a, Tensor) else a for n, a in short.items()}
            try:
                outputs[str(dtype).removeprefix("torch.")] = form(**cast)[0].double()
            except (FormError, KernelError):
                outputs[str(dtype).removeprefix("torch.")] = None
        errors = {d: None if y is None else float((y - truth).abs().max()) / top
                  for d, y in outputs.items()}  # fmt: skip
        y = outputs["float64"]
        first = () if y is None else tuple(y[0].flatten(1)[:, 0].tolist())
        found.append(Form(name, errors, first, _code(form), cost(form)))
    return tuple(found)


def _code(form: Any) -> str:
    """The lines of a function without its docstring."""
    source = inspect.getsource(inspect.unwrap(form)).rstrip()
    text = inspect.getdoc(inspect.unwrap(form)) or ""
    start = source.find('"""')
    end = source.find('"""', start + 3) if text and start >= 0 else -1
    if end < 0:
        return source
    return source[:start].rstrip() + source[end + 3 :]
