"""A module or a function: what each output reads, measured by the verifier."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import CallError
from ..verify import check
from ..verify.laws.influence import influence
from ..verify.process import seed, undisturbed
from ..verify.sizes import Setting
from ..verify.subjects.prepare import prepared
from ..verify.subjects.subject import Subject as Judged
from .naming import Named
from .patterns import NEIGHBOUR, pattern
from .positions import Positions
from .triangle import Leak, Subject, Triangle

SHORT = 32  # positions at which it is tried whether a row of the batch reads another
SECONDS = 60.0  # of measuring, above which it is not begun
LINEAR = 2.0**-30  # of the largest output, in float64
CHANGE = (
    "Measured: the largest change of y[t] when x[s] is rewritten. A size, not a weight; "
    "nothing is normalised."
)
GRADIENT = (
    "Measured: the largest gradient of y[t] to x[s]. A size, not a weight; nothing is normalised."
)


def measured(given: Named, where: Positions) -> Subject:
    """Its influence by change and by gradient, its leaks, and whether it is linear.

    In float64, where rounding hides no small influence; in its own dtype if it refuses that.

    Raises:
        CallError: it refuses the values, or it would take longer than SECONDS.

    Cost: T calls and T backward passes, and a quick check of two laws.
    """
    x = where.values.to(torch.get_default_dtype())
    T = x.shape[1]
    with undisturbed(given.target, x), torch.inference_mode(False), torch.enable_grad():
        seed()
        try:
            user = prepared(given.target, _drawer(x))
        except CallError as error:
            raise CallError(
                f"explore: {given.name} does not take x {list(x.shape)}; give a tensor that it "
                f"takes, x=[1, T, C] ({error})"
            ) from error
        try:
            subject = user.subject()
            wide = torch.float64 not in user.refused_dtypes
            setting = Setting(T, 1, dtype=torch.float64 if wide else user.dtype)
            _quick(given.name, subject, setting)
            found = influence(subject, setting, 0, T)
            linear = _linear(subject, Setting(T, 1, dtype=torch.float64))
        finally:
            user.put_back()
    triangles = [Triangle(f"{given.name} by change", found.value, True, CHANGE)]
    if found.gradient is not None:
        triangles.append(Triangle(f"{given.name} by gradient", found.gradient, True, GRADIENT))
    return Subject(
        given.name,
        given.python,
        tuple(triangles),
        leaks=_leaks(given, x, triangles) + _neighbour(given, x),
        tried=f"Each of the {T} positions was rewritten in turn",
        linear=linear,
    )


def _drawer(x: Tensor) -> Callable[[int, int, int], Tensor]:
    """The values themselves for seed 0; for another seed, values of the same spread."""

    def draw(B: int, T: int, number: int) -> Tensor:
        if number == 0 and x.shape[1] == T:
            return x.expand(B, -1, -1).clone()
        rng = torch.Generator().manual_seed(number)
        spread = float(x.std()) if x.numel() > 1 else 0.0
        return float(x.mean()) + (spread or 1.0) * torch.randn(B, T, x.shape[2], generator=rng)

    return draw


def _quick(name: str, subject: Judged, setting: Setting) -> None:
    """A CallError where measuring would take too long."""
    began = time.perf_counter()
    subject.at(setting).run(subject.at(setting).draw(setting))
    takes = 3 * setting.T * (time.perf_counter() - began)  # a backward pass is twice a call
    if takes > SECONDS:
        fewer = max(1, int(setting.T * SECONDS / takes))
        raise CallError(
            f"explore: measuring {name} at T={setting.T} takes about {takes:.0f} s, one call and "
            f"one backward pass for each position; give T={fewer} or less"
        )


def _linear(subject: Judged, setting: Setting) -> bool | None:
    """Whether `f(a + b) - f(b) = f(a) - f(0)` in float64; None where it takes no float64."""
    try:
        subject = subject.at(setting)
        a, b = (subject.draw(setting.again(number)) for number in (1, 2))
        both, zero = tuple(map(torch.add, a, b)), tuple(map(torch.zeros_like, a))
        y = [subject.run(given)[0] for given in (a, b, both, zero)]
    except Exception:
        return None
    far = float((y[2] - y[1] - y[0] + y[3]).abs().max())
    return far <= LINEAR * max(float(each.abs().max()) for each in y)


def _leaks(given: Named, x: Tensor, triangles: list[Triangle]) -> tuple[Leak, ...]:
    """What the verifier says where a cell above the diagonal is not zero: by change, or only by
    gradient.
    """
    triangle = next((each for each in triangles if each.ahead), None)
    if triangle is None:
        return ()
    t, s = triangle.weights.triu(1).nonzero()[0].tolist()
    size = float(triangle.weights[t, s])
    said: dict[str, Any] = {}
    for verdict in check(given.target, x, laws=["causal"], effort="quick").verdicts:
        said = {"sentence": verdict.sentence, "reproducer": verdict.reproducer}
    kind = pattern(triangle.weights)
    return (
        Leak(triangle.name, kind, position=t, reads=s, size=size, cells=triangle.ahead, **said),
    )


def _neighbour(given: Named, x: Tensor) -> tuple[Leak, ...]:
    """What the verifier says where the other rows of a batch change a row."""
    report = check(given.target, x[:, :SHORT], laws=["isolated"], effort="quick")
    return tuple(
        Leak(
            given.name, NEIGHBOUR, verdict.sentence, position=verdict.witness.position or 0,
            reads=None, size=verdict.error or 0.0, cells=0, reproducer=verdict.reproducer,
        )
        for verdict in report.verdicts
        if verdict.outcome == "broken" and verdict.witness is not None
    )  # fmt: skip
