"""Arguments without a time axis are judged as parameters: a fault in their use is named."""

from dataclasses import replace

import pytest
import torch
from tests.mixers.outside.shift import MIXER

import trilby


def detached(x, share, bias=None, state=None):
    return MIXER.loop(x, share.detach(), bias, state)


def halved(x, share, bias=None, state=None):
    return MIXER.loop(x, share, 0.5 * bias + 0.5 * bias.detach(), state)


def doubled(x, share, bias=None, state=None):
    return MIXER.loop(x, share, 2 * bias, state)


def rounded(x, share, bias=None, state=None):
    return MIXER.loop(x, share.to(torch.bfloat16).to(x.dtype), bias, state)


def added_at_each_position(x, share, bias=None, state=None):
    y, left = MIXER.loop(x, share, None, state)
    return torch.stack([now + bias for now in y.unbind(1)], 1) if x.shape[1] else y, left


def late(x, share, bias=None, state=None):
    y, left = MIXER.loop(x, share, None, state)
    return y + bias * x.roll(-1, 1), left


def first(law, form, mixer=MIXER):
    wrong = replace(mixer, forms={"loop": mixer.loop, "chunk": form})
    return trilby.check(wrong, forms=["chunk"], laws=[law], effort="quick").verdicts[0]


@pytest.mark.parametrize(
    ("form", "law", "kind", "told"),
    [
        (detached, "differentiates", "gradient missing", "/ d share"),
        (halved, "differentiates", "gradient wrong", "/ d bias"),
        (doubled, "agrees", "different", "differs from shift.loop"),
        (rounded, "sound", "unsound", "shift.chunk"),
        (added_at_each_position, "sound", "unsound", "gradient of bias"),
    ],
)
def test_a_fault_in_the_use_of_a_parameter_is_named(form, law, kind, told):
    found = first(law, form)
    assert (found.outcome, found.kind) == ("broken", kind), found
    assert told in found.sentence


def test_a_leak_behind_a_parameter_of_zeros_is_named():
    def draw(**how):
        x, share, bias = MIXER.draw(**how)
        return x, share, 0 * bias

    found = first("causal", late, replace(MIXER, draw=draw))
    assert (found.outcome, found.kind) == ("broken", "hidden leak"), found
