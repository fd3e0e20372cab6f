"""The two kernels of a short convolution: rows of channels, and series where time is last."""

import pytest
import torch

import trilby
from trilby.kernels.cpu.causal_convolution import series, tile

CLOSE = dict(rtol=1e-11, atol=1e-11)
BORDERS = [
    (T, W) for n in (tile.TIME, series.SPAN) for T in (n - 1, n, n + 1, n + 3) for W in (2, 4)
]
LONG = [(2 * tile.TIME + 1, tile.TIME + 9), (2 * series.SPAN + 1, 3)]
WIDE = [(tile.TIME + 3, tile.TIME + 9), (2, 4), (1, 1)]


def last(x):
    """The same tensor with time last in memory."""
    return x.mT.contiguous().mT


def drawn(T, W, C=32, dtype=torch.float64):
    rng = torch.Generator().manual_seed(T + W)
    sizes = (2, T, C), (C, W), (C,), (2, W - 1, C), (2, T, C), (2, W - 1, C)
    return [torch.randn(size, generator=rng, dtype=torch.float64).to(dtype) for size in sizes]


def results(form, given, dy, dstate, documents=None):
    own = [x.detach().requires_grad_() for x in given]
    found = form(*own, documents, silu=True)
    return [*found, *torch.autograd.grad(found, own, (dy, dstate))]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("T", "W"), BORDERS + LONG + WIDE)
def test_values_and_gradients_at_the_borders_of_tiles_and_spans(T, W, packed):
    x, kernel, bias, state, dy, dstate = drawn(T, W)
    documents = torch.arange(T).div(5, rounding_mode="floor").expand(2, T) if packed else None
    wanted = results(trilby.conv.chunk, (x, kernel, bias, state), dy, dstate, documents)
    for layout in (torch.Tensor.contiguous, last):
        given = layout(x), kernel, bias, state
        found = results(trilby.conv.fused, given, layout(dy), dstate, documents)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, **CLOSE)


def test_both_kernels_give_the_same_bits():
    """Each adds the bias and the numbers of a position in one order."""
    x, *others = drawn(series.SPAN + 40, 4, dtype=torch.bfloat16)[:4]
    rows, turned = (trilby.conv.fused(y, *others, silu=True) for y in (x, last(x)))
    assert torch.equal(rows[0], turned[0])
    assert torch.equal(rows[1], turned[1])


def test_some_channels_of_a_wider_tensor_stand_in_place():
    x, *others = drawn(80, 4, C=96)[:4]
    part = x[..., 32:64]
    cut = [y[32:64] for y in others[:2]] + [others[2][..., 32:64]]
    for layout in (torch.Tensor.contiguous, last):
        torch.testing.assert_close(
            trilby.conv.fused(part, *cut)[0], trilby.conv.fused(layout(part), *cut)[0], **CLOSE
        )
