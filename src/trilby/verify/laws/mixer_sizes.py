"""Where the forms of a mixer are tried: parts that the laws put their sizes together from."""

from collections.abc import Callable, Mapping

import torch

from ..sizes import DTYPES, LENGTHS, WIDE, Setting, sizes
from ..subjects.mixer_form import MixerForm


def every_dtype(effort: str, _form: MixerForm) -> list[Setting]:
    """Every length, the dtypes in turn."""
    return sizes(effort, dtypes=DTYPES)


def every_dtype_and_wide(effort: str, form: MixerForm) -> list[Setting]:
    """The same, and one size that kernels split over threads."""
    return [*every_dtype(effort, form), *wide(effort, form)]


def wide(effort: str, form: MixerForm) -> list[Setting]:
    """One size with as many channels as the form is tried with; none at effort "quick"."""
    return [] if effort == "quick" else [Setting(*WIDE, form.widest)]


def in_float64(
    lengths: Mapping[str, tuple[int, ...]],
) -> Callable[[str, MixerForm], list[Setting]]:
    """In float64, at some of the lengths; an effort that is not among them takes them all."""

    def settings(effort: str, _form: MixerForm) -> list[Setting]:
        wanted = lengths.get(effort, LENGTHS[effort])
        return [s for s in sizes(effort, dtypes=(torch.float64,)) if s.T in wanted]

    return settings


def several_positions(effort: str, _form: MixerForm) -> list[Setting]:
    """In float64, at every length of two positions or more."""
    return [s for s in sizes(effort, dtypes=(torch.float64,)) if s.T > 1]
