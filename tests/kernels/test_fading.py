"""The kernels of fading memories: how exact they are when a memory lasts."""

import pytest
import torch

import trilby
from trilby.bench.proof import compare


@pytest.mark.parametrize("share", [0.0, 1e-3])
@pytest.mark.parametrize("cut", [None, 1000])
def test_memories_that_last_keep_their_digits_however_long_they_are(share, cut):
    q, k, v, g = trilby.decay.draw(B=1, T=4096, H=2, K=40, V=70)
    given = q, k, v, share * g

    def form(*given):
        if cut is None:
            return trilby.decay.fused(*given)
        y, state = trilby.decay.fused(*(x[:, :cut] for x in given))
        more, state = trilby.decay.fused(*(x[:, cut:] for x in given), state)
        return torch.cat([y, more], 1), state

    verdict = compare(trilby.decay.chunk, form, *given)
    assert verdict, verdict.sentence


def test_a_memory_that_lasts_forgets_at_a_reset_and_may_fade_again():
    q, k, v, g = trilby.decay.draw(B=1, T=700, H=2, K=5, V=40, dtype=torch.float64)
    g = 1e-3 * g
    g[:, 300] = -torch.inf
    g[:, 400:500] *= 1000
    for dtype, rtol in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        given = [x.to(dtype) for x in (q, k, v, g)]
        got, wanted = trilby.decay.fused(*given), trilby.decay.chunk(*(x.double() for x in given))
        for a, b in zip(got, wanted, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=rtol, atol=rtol * 10)
    alone = trilby.decay.fused(*(x[:, 300:] for x in (q, k, v, g)))[0]
    torch.testing.assert_close(
        trilby.decay.fused(q, k, v, g)[0][:, 300:], alone, rtol=1e-12, atol=1e-12
    )
