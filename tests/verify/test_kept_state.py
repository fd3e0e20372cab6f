"""A state in a finer dtype than the sequences is judged by that dtype."""

from dataclasses import replace

import pytest
import torch

from trilby import Contract, Mixer
from trilby.contract import WIDE
from trilby.verify.judge import judge
from trilby.verify.laws import LAWS
from trilby.verify.sizes import Setting
from trilby.verify.subjects.mixer_form import mixer_forms

CONTRACT = Contract("fading", x="B T C", a="C", state=dict(state=("B C", WIDE)), documents=False)


def loop(x, a, state=None):
    """h = a h + (1 - a) x, in float32 beside everything but float64."""
    h, _, _ = CONTRACT.start("fading.loop", (x, a), state)
    a, y = a.to(h.dtype), []
    for now in x.to(h.dtype).unbind(1):
        h = a * h + (1 - a) * now
        y.append(h)
    return (torch.stack(y, 1) if y else x).to(x.dtype), h


def draw(*, B=2, T=13, C=3, seed=0, dtype=torch.float32):
    """x, and an `a` so near to 1 that roundings of h add up."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(B, T, C, generator=rng, dtype=torch.float64)
    a = 1 - 2**-13 * (1 + torch.rand(C, generator=rng, dtype=torch.float64))
    return x.to(dtype), a.to(torch.float32 if dtype != torch.float64 else dtype)


def mixer(form=loop, drawn=draw):
    return Mixer(
        contract=CONTRACT, forms=dict(loop=loop, scan=form), absent={},
        best=lambda *_: "loop", weights=loop, draw=drawn,
    )  # fmt: skip


def rounds_what_comes_in(x, a, state=None):
    state = state if state is None else state.to(x.dtype).to(state.dtype)
    return loop(x, a, state)


def rounds_what_it_leaves(x, a, state=None):
    y, h = loop(x, a, state)
    return y, h.to(x.dtype).to(h.dtype)


def adds_up_in_the_dtype_of_x(x, a, state=None):
    h, _, _ = CONTRACT.start("fading.scan", (x, a), state)
    y = []
    for now in x.unbind(1):
        h = (a * h + (1 - a) * now).to(x.dtype).to(h.dtype)
        y.append(h)
    return (torch.stack(y, 1) if y else x).to(x.dtype), h


def quickly_fading(**how):
    x, a = draw(**how)
    return x, 0 * a + 0.7


def test_a_float32_recurrence_is_sound():
    subject = mixer_forms(mixer(), ["loop"])[0]
    settings = [Setting(600, 2, 3, torch.bfloat16), Setting(3000, 2, 3, torch.float32)]
    assert judge(subject, LAWS["sound"], settings).ok


@pytest.mark.parametrize("drawn", [draw, quickly_fading])
@pytest.mark.parametrize(
    "form", [rounds_what_comes_in, rounds_what_it_leaves, adds_up_in_the_dtype_of_x]
)
def test_a_state_that_is_rounded_to_a_half_is_named(form, drawn):
    subject = mixer_forms(replace(mixer(form), draw=drawn), ["scan"])[0]
    found = judge(subject, LAWS["sound"], [Setting(8, 2, 3, torch.bfloat16)])
    assert (found.outcome, found.kind) == ("broken", "unsound"), found
    assert "bfloat16" in found.sentence
