"""The check that a form must pass before it is timed: on the same inputs, and against the loop.

`same` runs a form in float64 many times. Where the inputs are too large for that, the result is
compared with the float64 result of the reference, within the tolerance of the verifier.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..card import Mixer
from ..verify import Verdict, same
from ..verify.copies.nested import convert, leaves
from ..verify.precision.allowance import FACTOR, PROBES, farther, reduced, unit

WHOLE = 1 << 20  # elements up to which `same` compares the inputs that are timed, in about a second
SMALL = dict(B=2, T=13, C=3)  # a size at which the loop takes almost no time
REFERENCES = (
    "chunk",
    "scan",
    "matrix",
    "loop",
)  # the first one that the mixer has and that is another form

Form = Callable[..., Any]
Leaves = list[tuple[str, Any]]


class Answer(NamedTuple):
    """What a form returns, and the gradients of its floating arguments for a given dy."""

    y: Tensor
    state: Any
    gradients: list[Tensor]


def prove(
    mixer: Mixer[..., Any], form: str, arguments: tuple[Any, ...], *, dy: Tensor | None = None
) -> list[Verdict]:
    """Whether a form computes the function of the mixer at these arguments.

    Args:
        arguments: the ones that will be timed.
        dy: a gradient of y; the gradients of the arguments are compared too. None: only the
            result is compared.

    Returns:
        Two verdicts: against the loop at a small size, and against another form at these
        arguments. Both sentences begin with what was compared.
    """
    back = dy is not None
    verdicts = [at_small_size(mixer, form, arguments[0].dtype, backward=back)]
    if verdicts[0] and form != "loop":
        verdicts.append(here(mixer, form, arguments, dy=dy))
    return verdicts


def at_small_size(
    mixer: Mixer[..., Any], form: str, dtype: torch.dtype, *, backward: bool = False
) -> Verdict:
    """The first of them: a form against the loop, many times, where the loop takes no time."""
    small = mixer.drawn(**SMALL, dtype=dtype)
    back = (torch.ones_like(mixer.forms["loop"](*small)[0]),) if backward else ()
    loop, way = (_way(mixer.forms[name], backward=backward) for name in ("loop", form))
    against = "itself" if form == "loop" else "the loop"
    return _told(_same(loop, way, *small, *back), f"{against} at {_sizes(small)}")


def here(
    mixer: Mixer[..., Any],
    form: str,
    arguments: tuple[Any, ...],
    *,
    dy: Tensor | None = None,
    whole: int | None = None,
    against: str | None = None,
) -> Verdict:
    """The second: a form against another one at the arguments that are timed.

    Args:
        whole: elements up to which `same` compares them, by default WHOLE; above, one direct
            comparison.
        against: the other form; by default the first of REFERENCES.
    """
    name = against or next(n for n in REFERENCES if n in mixer.forms and n != form)
    reference, way = (_way(mixer.forms[n], backward=dy is not None) for n in (name, form))
    given = arguments if dy is None else (*arguments, dy)
    few = sum(a.numel() for a in arguments if isinstance(a, Tensor)) <= (
        WHOLE if whole is None else whole
    )
    verdict = _same(reference, way, *given) if few else compare(reference, way, *given)
    return _told(verdict, f"{name} at {_sizes(arguments)}" + _directly(few))


def _same(one: Form, other: Form, *arguments: Any) -> Verdict:
    """By value: where a backward is timed, what `_way` returns are its gradients."""
    return same(one, other, *arguments, gradients=False)


def compare(reference: Form, way: Form, *arguments: Any) -> Verdict:
    """One call of `way` in its dtype against `reference` in float64.

    The tolerance is that of the verifier: a few units of rounding of the output, and as many times
    the largest change of the output when every input changes by one unit of its dtype. Changes are
    tried until the answer is within the tolerance, at most as many as the verifier tries.
    """
    answers = _found(way, arguments)
    exact = _found(reference, convert(arguments, torch.float64))
    if [path for path, _ in answers] != [path for path, _ in exact]:
        return _broken("", "they do not return the same things")
    signs = torch.Generator().manual_seed(0)
    moved = [torch.zeros_like(b) if _real(b) else None for _, b in exact]
    for _ in range(PROBES):
        probe = _found(reference, _moved(arguments, signs))
        moved = [farther(m, b, c) for m, (_, b), (_, c) in zip(moved, exact, probe, strict=True)]
        if verdict := _worst(answers, exact, moved):
            break
    return verdict


def _found(form: Form, arguments: Any) -> Leaves:
    """What a form returns, leaf by leaf, without its graph."""
    found = leaves(form(*arguments))
    return [(path, x.detach() if isinstance(x, Tensor) else x) for path, x in found]


def _worst(answers: Leaves, exact: Leaves, moved: list[Tensor | None]) -> Verdict:
    """The first leaf that is beyond its tolerance, else the one with the largest error."""
    worst = Verdict("", "same", "holds", "same", 0.0, 0.0, "", "equal, bit for bit")
    for (path, a), (_, b), response in zip(answers, exact, moved, strict=True):
        verdict = _leaf(path, a, b, response)
        if not verdict:
            return verdict
        if (verdict.error or 0.0) > (worst.error or 0.0):
            worst = verdict
    return worst


def _leaf(path: str, a: Any, b: Any, response: Tensor | None) -> Verdict:
    """One tensor of the result, its float64 twin, and how far that moves with the inputs."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.shape != b.shape:
        return _broken(path, f"{path} is {a!r:.40} and {b!r:.40}")
    if not a.is_floating_point() or response is None:
        equal = a.dtype == b.dtype and bool((a == b).all())
        return Verdict("", "same", "holds") if equal else _broken(path, f"{path} is not equal")
    if not a.numel():
        return Verdict("", "same", "holds")
    allowed = FACTOR * (reduced(response) + unit(b, a.dtype))
    error = (a.double() - b).abs()
    error[(a == b) | (a.isnan() & b.isnan())] = 0.0
    excess = (error - allowed).nan_to_num(torch.inf, torch.inf)
    at = int((excess if bool((excess > 0).any()) else error).argmax())
    place = path + str([int(i) for i in torch.unravel_index(torch.tensor(at), a.shape)])
    size, most = float(error.flatten()[at]), float(allowed.flatten()[at])
    numbers = f"{size:.1e} at {place}, allowed {most:.1e}"
    if float(excess.flatten()[at]) > 0:
        return _broken(place, f"they differ by {numbers}", size, most)
    text = f"they differ by rounding only: {numbers}"
    return Verdict("", "same", "holds", "same", size, most, place, text)


def _way(form: Form, *, backward: bool) -> Form:
    """The form as it is; or the form and its gradients, where dy is the last argument."""
    if not backward:
        return form

    def both(*given: Any) -> Answer:
        *arguments, dy = given
        with torch.enable_grad():
            own = [a.detach().requires_grad_() if _real(a) else a for a in arguments]
            y, state = form(*own)
            found = torch.autograd.grad(y, [a for a in own if _real(a)], dy)
        return Answer(y.detach(), state, list(found))

    return both


def _moved(arguments: tuple[Any, ...], signs: torch.Generator) -> tuple[Any, ...]:
    """The arguments in float64, each number changed by one unit of its own dtype."""

    def move(a: Any) -> Any:
        if not _real(a):
            return a
        coin = torch.randint(0, 2, a.shape, generator=signs) * 2 - 1
        return a.detach().double() + coin * unit(a, a.dtype)

    return tuple(move(a) for a in arguments)


def _told(verdict: Verdict, against: str) -> Verdict:
    """The same verdict, with what it was compared with in its subject and its sentence."""
    fields = {name: getattr(verdict, name) for name in verdict.__dataclass_fields__}
    return Verdict(**fields | {"sentence": f"against {against}: {verdict.sentence}"})


def _broken(
    place: str, text: str, error: float | None = None, most: float | None = None
) -> Verdict:
    return Verdict("", "same", "broken", "different", error, most, place, text)


def _directly(whole: bool) -> str:
    return "" if whole else ", one direct comparison in float64"


def _sizes(arguments: tuple[Any, ...]) -> str:
    return str(list(arguments[0].shape))


def _real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
