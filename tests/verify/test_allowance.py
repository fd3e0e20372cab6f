import pytest
import torch

from trilby.verify.precision.allowance import allowances, pinned, unit


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_unit_is_the_distance_to_the_next_number(dtype):
    info = torch.finfo(dtype)
    least = info.smallest_normal * info.eps
    x = torch.tensor([0.0, 1.0, -3.0, torch.inf, torch.nan], dtype=dtype)
    assert unit(x, dtype).tolist() == [least, info.eps, 2 * info.eps, 0.0, 0.0]


def test_a_product_by_three_moves_three_units():
    x = torch.ones(1, 2, 1)
    found = allowances(lambda x: x * 3, (x,), {})[0]
    torch.testing.assert_close(found.response, torch.full((1, 2, 1), 3 * 2.0**-23).double())


def test_parameters_are_moved_too_and_put_back():
    model = torch.nn.Linear(2, 3)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert allowances(model, (torch.zeros(1, 4, 2),), {})[0].response.min() > 0  # the bias moved
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_random_state_and_the_default_dtype_are_as_before_after_an_interrupt():
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt), pinned(dtype=torch.float64):
        raise KeyboardInterrupt
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32
