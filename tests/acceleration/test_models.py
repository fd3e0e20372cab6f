"""Each type of model computes what it computed, and keeps apart and remembers what it should."""

import pytest
import torch

from tests.acceleration.models import FEW, MORE, NARROW, T, in_pieces, logits, model_of, tokens
from trilby.transformers import accelerate, accelerated

KINDS = [*FEW, *(pytest.param(kind, marks=pytest.mark.long) for kind in MORE)]
BY_POSITION = {"bamba"}  # its attention counts from 0 in each cached call without position_ids

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.parametrize("kind", KINDS),
]


def _gradients(model, ids):
    model.zero_grad()
    y = logits(model, ids)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_logits_and_the_gradient_of_every_parameter_are_those_of_the_original(kind):
    """The references compute in float32 whatever the dtype is."""
    model, ids = model_of(kind), tokens(B=2)
    before, slopes = logits(model, ids), _gradients(model, ids)
    with accelerated(model) as report:
        after, ours = logits(model, ids), _gradients(model, ids)
    assert report, str(report)
    whole = {"mamba_inner_fn", "mamba_split_conv1d_scan_combined"}  # in training alone
    assert all(set(layer.ours) - set(layer.seen) <= whole for layer in report.layers), str(report)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6 * float(before.abs().max()))
    assert ours.keys() == slopes.keys()
    largest = max(float(slope.abs().max()) for slope in slopes.values())
    for name, slope in slopes.items():
        limit = 5e-5 * float(slope.abs().max()) + 1e-7 * largest
        torch.testing.assert_close(ours[name], slope, rtol=0, atol=limit, msg=name)
    assert torch.equal(logits(model, ids), before)


@torch.no_grad()
def test_packed_sequences_are_kept_apart(kind):
    model, ids, first = model_of(kind), tokens(), 8
    assert accelerate(model).packed
    alone = [logits(model, part) for part in (ids[:, :first], ids[:, first:])]
    positions = torch.cat([torch.arange(first), torch.arange(T - first)])[None]
    packed = logits(model, ids, position_ids=positions)
    torch.testing.assert_close(packed, torch.cat(alone, 1), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(packed[:, first:], logits(model, ids)[:, first:])


@torch.no_grad()
@pytest.mark.parametrize("pieces", [(1,) * T, (1, 5, 6, 1, 8), (9, 2, 10)], ids=len)
def test_a_stream_from_the_cache_is_one_call(kind, pieces):
    model, ids = model_of(kind), tokens()
    accelerate(model)
    whole = logits(model, ids)
    limit = 1e-6 * float(whole.abs().max())  # some layers keep their state in float32
    torch.testing.assert_close(
        in_pieces(model, ids, pieces, kind in BY_POSITION), whole, rtol=0, atol=limit
    )


@torch.no_grad()
def test_padding_on_the_left_changes_nothing(kind):
    model, ids, gap = model_of(kind), tokens(B=2), 6
    mask = torch.ones_like(ids)
    mask[0, :gap] = 0
    accelerate(model)
    padded = logits(model, ids, attention_mask=mask)[:1, gap:]
    alone = logits(model, ids[:1, gap:])
    limit = 1e-6 * float(alone.abs().max())
    torch.testing.assert_close(padded, alone, rtol=0, atol=limit)


@torch.no_grad()
def test_halves_are_as_near_as_those_of_the_original(kind):
    if kind in NARROW:
        pytest.skip("its parts in float32 cannot be rounded to bfloat16")
    ids = tokens(B=2)
    exact = logits(model_of(kind), ids)
    half = model_of(kind).to(torch.bfloat16)
    size = typical if routes(half) else spread
    error = size(logits(half, ids).double() - exact)
    with accelerated(half):
        ours = size(logits(half, ids).double() - exact)
    assert float(ours) <= 1.25 * float(error)


def spread(error):
    """The root of the mean square."""
    return error.pow(2).mean().sqrt()


def typical(error):
    """The median: rounding sends a few tokens to other experts, on either side."""
    return error.abs().median()


def routes(model):
    """Whether tokens are sent to experts."""
    return any("expert" in name for name, _ in model.named_modules())
