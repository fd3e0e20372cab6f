"""One token of a stream: the state of the cache is written where it stands."""

import pytest
import torch

from trilby.transformers.functions import OURS

GATES = dict(fused_recurrent_gated_delta_rule=(1, 1, 3), fused_recurrent_kda=(1, 1, 3, 4))
EVERY = pytest.mark.parametrize("name", GATES)


def drawn(name, dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    sizes = (1, 1, 3, 4), (1, 1, 3, 4), (1, 1, 3, 5), GATES[name], (1, 1, 3), (1, 3, 4, 5)
    q, k, v, g, beta, state = (torch.randn(size, generator=rng) for size in sizes)
    return q, k, v, -g.abs(), beta.sigmoid(), state.to(dtype)


def called(name, q, k, v, g, beta, state, **how):
    return OURS[name](
        q, k, v, g=g, beta=beta, initial_state=state, output_final_state=True,
        use_qk_l2norm_in_kernel=True, **how,
    )  # fmt: skip


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_state_that_comes_back_is_the_one_that_was_given(name, dtype):
    *given, state = drawn(name, dtype)
    kept = state.clone()
    wanted, after = called(name, *given, kept)  # with gradients: nothing is overwritten
    assert torch.equal(kept, state)
    with torch.no_grad():
        y, last = called(name, *given, state)
    assert last is state
    close = dict(rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(y, wanted, **close)
    torch.testing.assert_close(state, after.to(dtype), **close)


@EVERY
def test_packed_sequences_and_a_state_that_is_not_wanted_leave_it_alone(name):
    *given, state = drawn(name)
    kept = state.clone()
    with torch.no_grad():
        called(name, *given, state, seq_idx=torch.zeros(1, 1, dtype=torch.int32))
        OURS[name](*given[:3], g=given[3], beta=given[4], initial_state=state)
    assert torch.equal(kept, state)
