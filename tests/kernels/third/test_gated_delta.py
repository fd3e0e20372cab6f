"""The recurrence outside of the package: values and gradients against a loop in float64."""

from pathlib import Path

import pytest
import torch
from tests.kernels.third import gated_delta
from torch.nn.functional import normalize

from trilby.kernels.cpu.recurrence import launch
from trilby.kernels.machine import compiler
from trilby.verify.precision.allowance import allowances

fused = gated_delta.GatedDelta.apply


def loop(q, k, v, g, beta, S):
    """The definition."""
    y = []
    for t in range(q.shape[1]):
        S = g[:, t, :, None, None].exp() * S
        e = v[:, t] - (k[:, t, :, :, None] * S).sum(2)
        S = S + k[:, t, :, :, None] * (beta[:, t, :, None] * e)[:, :, None]
        y.append((q[:, t, :, :, None] * S).sum(2))
    return torch.stack(y, 1), S


def draw(T, dtype, B=2, H=2, K=37, V=70):
    """Inputs with uneven strides; in the middle of a long sequence stands a reset."""
    rand = dict(generator=torch.Generator().manual_seed(T), dtype=torch.float64)
    q, k = (normalize(torch.randn(B, T, H, K, **rand), dim=-1).to(dtype) for _ in "qk")
    v = torch.randn(B, T, H, V, 3, **rand).to(dtype)[..., 1]
    g, beta = -0.3 * torch.rand(B, T, H, **rand), torch.rand(B, H, T, **rand).mT
    g[:, 3:4] = -torch.inf
    state = torch.randn(B, H, V, K, **rand).mT
    state = state if dtype == torch.float64 else state.float()
    q = q.transpose(1, 3).contiguous().transpose(1, 3)
    return q, k.flip(1), v, g.to(dtype), beta.to(dtype), state


def seeds(y, after):
    """Gradients of the results; that of y has strides of 0."""
    return torch.randn_like(y[:, :, :1]).expand_as(y), torch.randn_like(after)


def with_gradients(form):
    """The form, and the gradients of its arguments for the gradients of its results."""

    def way(*given):
        *arguments, dy, dafter = given
        leaves = [x.detach().requires_grad_() for x in arguments]
        results = form(*leaves)
        gradients = torch.autograd.grad(results, leaves, (dy, dafter))
        return *(x.detach() for x in results), *gradients

    return way


@pytest.fixture(autouse=True)
def _checked(monkeypatch):
    monkeypatch.setattr(launch, "CHECKED", True)
    torch.manual_seed(0)


@pytest.mark.parametrize("T", [1, 7, 65])
def test_values_and_gradients_are_those_of_the_loop_in_float64(T):
    given = draw(T, torch.float64)
    given = *given, *seeds(*fused(*given))
    pairs = zip(with_gradients(fused)(*given), with_gradients(loop)(*given), strict=True)
    for got, wanted in pairs:
        torch.testing.assert_close(got, wanted, rtol=1e-13, atol=1e-13)


def excess(got, form, given):
    """The largest error of each result, in units of what the verifier allows in its dtype."""
    pairs = zip(got, allowances(form, given, {}), strict=True)
    return [
        float(((one.double() - twin.answer).abs() / twin.allowed(one.dtype)).max())
        for one, twin in pairs
    ]


@pytest.mark.parametrize("T", [1, 7, 65])
def test_values_and_gradients_are_those_of_the_loop_in_float32(T):
    given = draw(T, torch.float32)
    given = *given, *seeds(*fused(*given))
    assert max(excess(with_gradients(fused)(*given), with_gradients(loop), given)) <= 1


def test_values_in_bfloat16_are_those_of_the_loop():
    given = draw(65, torch.bfloat16)
    assert max(excess(fused(*given), loop, given)) <= 1


def test_threads_change_nothing():
    given = draw(180, torch.float32, B=1, H=1, K=64, V=96)  # threads share the columns
    before, found = torch.get_num_threads(), []
    dy, dafter = seeds(*fused(*given))
    try:
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            found.append(with_gradients(fused)(*given, dy, dafter))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


def test_its_programs_are_compiled_again_when_the_language_changes():
    files = compiler.files(Path(gated_delta.__file__))
    names = {f"{file.parent.name}/{file.name}" for file in files}
    assert {"third/gated_delta.py", "simd/vector.py", "recurrence/record.py"} <= names
