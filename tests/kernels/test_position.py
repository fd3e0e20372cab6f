"""One position of a selective scan in place, against the definition written out."""

import pytest
import torch

from trilby.functional import selective_state_update
from trilby.kernels import ops

N = 32  # whole vectors of float32 and float64 on every machine


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def drawn(B, H, P, G, dtype=torch.float64):
    """x, dt, A, B, C, D and a state, each with memory of its own."""
    shapes = (B, H, P), (B, H, P), (H, P, N), (B, G, N), (B, G, N), (H, P), (B, H, P, N)
    x, dt, A, *rest = (normal(*s, seed=i, dtype=dtype) for i, s in enumerate(shapes))
    return x, dt.abs(), -A.abs(), *rest


def definition(x, dt, A, B, C, D, state):
    write, read = (t.repeat_interleave(x.shape[1] // t.shape[1], 1)[:, :, None] for t in (B, C))
    after = (dt[..., None] * A).exp() * state + (dt * x)[..., None] * write
    return (after * read).sum(-1) + D * x, after


def agree(given, tolerance):
    *inputs, state = given
    right, after = definition(*inputs, state)
    kept = state.clone()
    y = ops.selective_scan_inplace(*inputs, kept)
    assert y is not None
    torch.testing.assert_close(y, right, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(kept, after, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (2, 1, 5, 1), (3, 4, 3, 2), (1, 6, 2, 6)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-5)])
def test_it_is_the_definition(sizes, dtype, tolerance):
    agree(drawn(*sizes, dtype=dtype), tolerance)


def test_expanded_and_cut_tensors_are_read_by_their_strides():
    x, dt, A, B, C, D, state = drawn(2, 4, 3, 2)
    one = A[:, :1, :1].expand(4, 3, N)  # a rate for each head, as Mamba-2 has
    steps = dt[..., :1].expand(2, 4, 3)
    turned = x.mT.contiguous().mT  # heads side by side in memory
    apart = torch.stack([B, C], -1).unbind(-1)
    agree((turned, steps, one, *apart, D[:, :1].expand(4, 3), state), 1e-13)
    agree((x, dt, A.mT.contiguous().mT, *apart, D, state), 1e-13)


def test_threads_change_no_bit():
    x, dt, A, B, C, D, state = drawn(1, 2, 3000, 1, torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            kept = state.clone()
            found.append((ops.selective_scan_inplace(x, dt, A, B, C, D, kept), kept))
    finally:
        torch.set_num_threads(before)
    for y, after in found[1:]:
        assert torch.equal(y, found[0][0])
        assert torch.equal(after, found[0][1])


@pytest.mark.parametrize("which", range(7))
def test_it_steps_aside_where_a_size_a_dtype_or_a_gradient_forbids(which):
    given = list(drawn(2, 4, 3, 2))
    kept, state = given[6].clone(), given[6]
    for wrong in (given[which][..., :-1], given[which].float(), given[which][0]):
        asked = [*given[:which], wrong, *given[which + 1 :]]
        if wrong.ndim > 1 and asked[6].ndim == 4:
            assert ops.selective_scan_inplace(*asked) is None
    wants = given[which].clone().requires_grad_()
    assert ops.selective_scan_inplace(*given[:which], wants, *given[which + 1 :]) is None
    assert torch.equal(state, kept)


def test_it_steps_aside_for_memories_that_are_no_whole_vectors():
    x, dt, A, B, C, D, state = drawn(1, 2, 3, 1)
    cut = A[..., :5], B[..., :5], C[..., :5]
    assert ops.selective_scan_inplace(x, dt, *cut, D, state[..., :5].contiguous()) is None


@pytest.mark.parametrize("heads", [False, True])
def test_a_step_of_mamba_takes_it(heads, monkeypatch):
    x, dt, A, B, C, D, state = drawn(2, 4 if heads else 1, 3, 1)
    given = (x, dt, A, B, C, D) if heads else (x[:, 0], dt[:, 0], A[0], B[:, 0], C[:, 0], D[0])
    taken, call = [], ops.selective_scan_inplace
    counting = lambda *asked: taken.append(call(*asked)) or taken[-1]
    monkeypatch.setattr(ops, "selective_scan_inplace", counting)
    kept = state.clone() if heads else state[:, 0].clone()
    y = selective_state_update(kept, *given)
    assert len(taken) == 1
    assert taken[0] is not None
    right, after = definition(x, dt, A, B, C, D, state)
    torch.testing.assert_close(y.view_as(right), right, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(kept.view_as(after), after, rtol=1e-13, atol=1e-13)
