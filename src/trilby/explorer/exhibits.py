"""The verifier's gallery, measured: how each fault looks, and what it does where it happens."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import CallError
from ..gallery import WRONG, Exhibit
from ..verify.laws.influence import influence
from ..verify.process import seed, undisturbed
from ..verify.sizes import Setting
from ..verify.subjects.prepare import prepared
from ..verify.subjects.reading import Asked
from .patterns import group, pattern

N = 16  # positions of a square
UNSEEN = "not in one square"


class Fingerprint(NamedTuple):
    """One module of the gallery that reads the future, as measured.

    Attributes:
        name: of the exhibit; `trilby gallery NAME` shows its code.
        group: the plain name of what its square shows; UNSEEN where it shows nothing, as the fault
            needs another argument, length or pass.
        cause: what the verifier calls it.
        story: one sentence, what is wrong with it.
        source: addresses of the reports that it is modelled on.
        square: [16, 16] float64, by change; by gradient where only that shows it.
        gradient: whether it is by gradient.
    """

    name: str
    group: str
    cause: str
    story: str
    source: tuple[str, ...]
    square: Tensor
    gradient: bool


def fingerprints() -> tuple[Fingerprint, ...]:
    """Each exhibit that reads the future, those of one group together.

    Cost: about a second.
    """
    found = [_measured(one) for one in WRONG.values() if one.law == "causal"]
    seen = {one.group: None for one in found if one.group != UNSEEN}
    return tuple(sorted(found, key=lambda one: [*seen, UNSEEN].index(one.group)))


def _measured(exhibit: Exhibit) -> Fingerprint:
    module, example = exhibit.make(), exhibit.example()
    with undisturbed(module, example), torch.inference_mode(False), torch.enable_grad():
        seed()
        try:
            user = prepared(module, example, Asked(**exhibit.asked()))
        except CallError as error:
            raise CallError(f"explore: the gallery's {exhibit.name} cannot run: {error}") from error
        try:
            wide = torch.float64 not in user.refused_dtypes
            setting = Setting(N, 1, dtype=torch.float64 if wide else user.dtype)
            found = influence(user.subject(), setting, 0, N)
        finally:
            user.put_back()
    value = bool(found.value.triu(1).any())
    slope = not value and found.gradient is not None and bool(found.gradient.triu(1).any())
    square = found.gradient if slope and found.gradient is not None else found.value
    kind = pattern(square)
    return Fingerprint(
        exhibit.name, group(kind) if kind else UNSEEN, exhibit.kind, exhibit.story, exhibit.source,
        square, slope,
    )  # fmt: skip
