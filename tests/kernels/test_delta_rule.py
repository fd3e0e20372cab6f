"""The kernels of the delta rule: how exact they are, and when they are compiled again."""

import pytest
import torch

import trilby
from trilby.kernels.cpu.recurrence import launch
from trilby.kernels.machine import compiler
from trilby.verify.precision.allowance import allowances


def with_gradients(form):
    """The form, and the gradients of its arguments for the gradients of its results."""

    def way(*given):
        *arguments, dy, dafter = given
        leaves = [x.detach().requires_grad_() for x in arguments]
        results = form(*leaves)
        gradients = torch.autograd.grad(results, leaves, (dy, dafter))
        return *(x.detach() for x in results), *gradients

    return way


@pytest.mark.parametrize("T", [1, 7, 65])
@pytest.mark.parametrize("mixer", [trilby.delta, trilby.kda], ids=lambda mixer: mixer.name)
def test_values_and_gradients_in_float32_are_those_of_the_loop(mixer, T, monkeypatch):
    """As near as rounding explains; resets, and by channel decays of -50 and growth too."""
    monkeypatch.setattr(launch, "CHECKED", True)
    given = *mixer.draw(B=2, T=T, H=4, K=3, V=5), torch.randn(2, 4, 3, 5)
    if mixer is trilby.delta:
        given[4][:, 3:4] = -torch.inf
    else:
        g = given[3]
        g[:, 3:4, :, :2], g[:, 4:6, :, 1:], g[:, 6:8] = -torch.inf, -50, 0.2
    y, after = mixer.fused(*given)
    given = *given, torch.randn_like(y[:, :, :1]).expand_as(y), torch.randn_like(after)
    got = with_gradients(mixer.fused)(*given)
    pairs = zip(got, allowances(with_gradients(mixer.loop), given, {}), strict=True)
    for one, twin in pairs:
        excess = (one.double() - twin.answer).abs() / twin.allowed(one.dtype)
        assert float(excess.max()) <= 1


def test_kernels_outside_of_the_package_are_compiled_again_when_the_language_changes(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("from trilby.kernels.cpu.recurrence.record import down, record\n")
    names = {file.name for file in compiler.files(mine)}
    assert {"mine.py", "record.py", "sequences.py", "elements.py"} <= names
