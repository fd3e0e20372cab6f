"""Arguments without a time axis are judged as parameters: a fault in their use is named."""

from dataclasses import replace

import pytest
import torch
from tests.mixers.outside.conv import MIXER

import trilby


def detached(x, kernel, bias=None, state=None):
    return MIXER.loop(x, kernel.detach(), bias, state)


def halved(x, kernel, bias=None, state=None):
    return MIXER.loop(x, kernel, 0.5 * bias + 0.5 * bias.detach(), state)


def doubled(x, kernel, bias=None, state=None):
    return MIXER.loop(x, kernel, 2 * bias, state)


def rounded(x, kernel, bias=None, state=None):
    return MIXER.loop(x, kernel.to(torch.bfloat16).to(x.dtype), bias, state)


def added_at_each_position(x, kernel, bias=None, state=None):
    y, left = MIXER.loop(x, kernel, None, state)
    return torch.stack([now + bias for now in y.unbind(1)], 1) if x.shape[1] else y, left


def late(x, kernel, bias=None, state=None):
    y, left = MIXER.loop(x, kernel, None, state)
    return y + bias * x.roll(-1, 1), left


def first(law, form, mixer=MIXER):
    wrong = replace(mixer, forms={"loop": mixer.loop, "chunk": form})
    return trilby.check(wrong, forms=["chunk"], laws=[law], effort="quick").verdicts[0]


@pytest.mark.parametrize(
    ("form", "law", "kind", "told"),
    [
        (detached, "differentiates", "gradient missing", "/ d kernel"),
        (halved, "differentiates", "gradient wrong", "/ d bias"),
        (doubled, "agrees", "different", "differs from conv.loop"),
        (rounded, "sound", "unsound", "conv.chunk"),
        (added_at_each_position, "sound", "unsound", "gradient of bias"),
    ],
)
def test_a_fault_in_the_use_of_a_parameter_is_named(form, law, kind, told):
    found = first(law, form)
    assert (found.outcome, found.kind) == ("broken", kind), found
    assert told in found.sentence


def test_a_leak_behind_a_parameter_of_zeros_is_named():
    def draw(**how):
        x, kernel, bias = MIXER.draw(**how)
        return x, kernel, 0 * bias

    found = first("causal", late, replace(MIXER, draw=draw))
    assert (found.outcome, found.kind) == ("broken", "hidden leak"), found
