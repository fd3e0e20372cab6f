import pytest
import torch

from trilby.court.same import same
from trilby.mixers import mean

x = torch.randn(4, 8, 2, generator=torch.Generator().manual_seed(1337))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", ["matrix", "softmax", "scan", "chunk", "step"])
def test_the_forms_of_the_mean_are_one_function(form, dtype):
    verdict = same(mean.loop, getattr(mean, form), x.to(dtype))
    assert verdict, verdict


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_factor_of_1_001_is_another_function(dtype):
    verdict = same(lambda x: x * 3, lambda x: x * 3 * 1.001, x.to(dtype))
    assert not verdict
    assert verdict.kind == "different"


def test_one_wrong_element_is_placed():
    def wrong(x):
        y = x.clone()
        y[2, 5, 1] += 1e-3
        return y

    verdict = same(torch.clone, wrong, x)
    assert not verdict
    assert verdict.place == "y[2, 5, 1]"


def test_shapes_that_broadcast_and_nan_against_a_number_are_different():
    assert not same(lambda x: x, lambda x: x[:1], x)
    assert not same(lambda x: x, lambda x: x * torch.nan, x)
