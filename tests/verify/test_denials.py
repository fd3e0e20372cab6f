"""What `same` has to deny, over dtypes and seeds, and what it must not call a difference."""

import pytest
import torch
from tests.verify.ways import DTYPES, drawn

from trilby.mixers import mean
from trilby.verify import same

SEEDS = [1337, 0, 1, 2]
PLACES = [(0, 0, 0), (3, 17, 99), (9, 999, 99)]  # of a million; with each dtype one at every change


def _late(x):
    y, state = mean.matrix(x)
    return torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1), state


def _peeking(x):
    y, state = mean.matrix(x)
    return y + 1e-3 * x.mean(1, keepdim=True), state


def _factor(x):
    y, state = mean.matrix(x)
    return y * 1.001, state


def _last_chunk(x):
    y, state = mean.chunk(x, size=3)
    y[:, 6:] = mean.scan(x[:, 6:])[0]
    return y, state


def _not_a_number(x):
    y, state = mean.scan(x)
    y[1, 2, 1] = torch.nan
    return y, state


def _infinite(x):
    y, state = mean.scan(x)
    y[1, 2, 1] = torch.inf
    return y, state


def _broadcast(x):
    y, state = mean.scan(x)
    return y[:1], state


def _state(x):
    y, (total, count) = mean.scan(x)
    return y, type(mean.scan(x)[1])(total * 1.001, count)


def _count(x):
    y, (total, count) = mean.scan(x)
    return y, type(mean.scan(x)[1])(total, count + 1)


MUTANTS = {
    _late: "y[",
    _peeking: "y[",
    _factor: "y[",
    _last_chunk: "y[",
    _not_a_number: "y[1, 2, 1]",
    _infinite: "y[1, 2, 1]",
    _broadcast: "",
    _state: "state.total[",
    _count: "state.count[",
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_difference_in_function_is_denied_and_placed(mutant, dtype):
    for seed in SEEDS:
        x = drawn(seed, dtype=dtype)
        for verdict in (same(mean.loop, mutant, x), same(mutant, mean.scan, x)):
            assert not verdict
            assert verdict.kind == "different", verdict
            assert verdict.place.startswith(MUTANTS[mutant])


@pytest.mark.parametrize(
    ("dtype", "place"),
    [
        pytest.param(dtype, place, marks=[pytest.mark.long] * (i % len(PLACES) != j))
        for i, dtype in enumerate(DTYPES)
        for j, place in enumerate(PLACES)
    ],
    ids=str,
)
def test_one_wrong_element_in_a_million(dtype, place):
    x = drawn(0, 10, 1000, 100, dtype=dtype)

    def wrong(x):
        y = x.cumsum(1)
        y[place] += 1e-3 * x[place].abs().clamp(min=1)
        return y

    verdict = same(lambda x: x.cumsum(1), wrong, x)
    assert verdict.kind == "different", verdict
    assert verdict.place == f"y[{place[0]}, {place[1]}, {place[2]}]"
    assert same(lambda x: x * 2, lambda x: x + x, x, gradients=False)


def test_what_broadcasts_or_has_another_dtype_is_named():
    x = drawn(1337)
    verdict = same(torch.clone, lambda x: x[:1], x)
    assert str(verdict) == "y is float32 [4, 8, 2] from clone and float32 [1, 8, 2] from <lambda>"
    verdict = same(torch.clone, lambda x: x.double(), x)
    assert str(verdict) == "y is float32 [4, 8, 2] from clone and float64 [4, 8, 2] from <lambda>"


def test_equal_nans_and_infinities_are_no_difference():
    x = torch.tensor([1.0, torch.nan, torch.inf, -torch.inf])
    assert same(lambda x: x + x, lambda x: 2 * x, x)
    assert not same(lambda x: x, lambda x: -x, x[2:])
    assert str(same(lambda x: x, lambda x: x.nan_to_num(0), x[:2])) == (
        "different functions: nan and 0 at y[1] (float64)"
    )


def _bare_bfloat(x):
    """A mean whose sum and count live in the dtype of x: bfloat16 cannot count to 257."""
    total, count = torch.zeros_like(x[:, 0]), torch.zeros((), dtype=x.dtype)
    y = []
    for t in range(x.shape[1]):
        total, count = total + x[:, t], count + 1
        y.append(total / count)
    return torch.stack(y, 1)


def test_a_count_lost_at_256_is_rounding():
    x = drawn(0, 1, 600, 1, dtype=torch.bfloat16)
    verdict = same(mean.loop, _bare_bfloat, x)
    assert (verdict.kind, bool(verdict)) == ("rounding", False)
    assert str(verdict).startswith(
        "the same function, but _bare_bfloat rounds worse than bfloat16 allows: "
    )
    assert " times; y alone is compared" in str(verdict)
    assert verdict.error > verdict.allowance
    assert "but _bare_bfloat rounds" in str(same(_bare_bfloat, mean.loop, x))
    for dtype in (torch.float32, torch.float64):
        assert same(mean.loop, _bare_bfloat, x.to(dtype))


def test_overflow_in_half_precision_is_rounding():
    x = torch.full((1, 8, 1), 3e4, dtype=torch.float16)
    verdict = same(mean.loop, _bare_bfloat, x)
    assert verdict.kind == "rounding"
    assert "inf and 3e+04 at y[0, 2, 0] (float16)" in str(verdict)


def test_cancellation_is_rounding():
    verdict = same(lambda x: torch.log(1 + x), torch.log1p, torch.tensor([1e-10, 1e-5]))
    assert verdict.kind == "rounding", verdict
    verdict = same(lambda x: torch.log(1 + x), lambda x: torch.log1p(1.001 * x), torch.tensor(1e-5))
    assert verdict.kind == "different", verdict


def test_a_whole_number_that_hangs_on_rounding_is_rounding():
    x = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    near = lambda x: (3 * x * (1 / 3) * 10000001).round().long()
    exact = lambda x: (x.double() * 10000001).round().long()
    assert same(exact, near, x).kind == "rounding"
    assert same(lambda x: x.argmax(), lambda x: x.sort().indices[-1], x)
    assert same(lambda x: x.argmax(), lambda x: x.argmin(), x).kind == "different"
