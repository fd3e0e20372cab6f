"""selective_state_update: one position, for both Mambas, against transformers."""

import pytest
import torch

from tests.functional.outside import NARROW, normal, same, theirs
from trilby.functional import mamba_chunk_scan_combined, selective_scan_fn, selective_state_update

B, D, N, H, G = 2, 3, 5, 4, 2


def first(n=N, **more):
    """One position of the first Mamba."""
    return dict(
        x=normal(B, D), dt=normal(B, D, seed=1), A=-normal(D, n).exp(), B=normal(B, n),
        C=normal(B, n, seed=1),
    ) | more  # fmt: skip


def second(n=N, **more):
    """One position of Mamba-2, with rates and steps for each number."""
    return dict(
        x=normal(B, H, D), dt=normal(B, H, D, seed=1), A=-normal(H, D, n).exp(),
        B=normal(B, G, n), C=normal(B, G, n, seed=1),
    ) | more  # fmt: skip


def reference(model):
    """Their function, under the names of mamba-ssm; it moves the state that it is given."""
    call = theirs(model, f"{model}_selective_state_update")

    def step(state, x, **rest):
        return call(state, x, **rest)

    return step


def moving(call, state, **how):
    """y and the moved state of a function of the other arguments."""

    def moved(**tensors):
        kept = state.clone()
        return call(kept, **tensors, **how), kept

    return moved


@pytest.mark.parametrize("more", ["", "D", "z", "dt_bias", "D z dt_bias"])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("n", [N, 16])  # torch operations, and the kernel
@pytest.mark.parametrize("model", ["mamba", "mamba2"])
def test_a_step_is_that_of_transformers(model, n, positive, more):
    sizes = (D,) if model == "mamba" else (H, D)
    optional = dict(D=normal(*sizes), z=normal(B, *sizes, seed=2), dt_bias=normal(*sizes, seed=3))
    given = (first if model == "mamba" else second)(n, **{k: optional[k] for k in more.split()})
    found = moving(selective_state_update, normal(B, *sizes, n), dt_softplus=positive)
    right = moving(reference(model), normal(B, *sizes, n), dt_softplus=positive)
    torch.testing.assert_close(found(**given), right(**given), **NARROW)


@pytest.mark.parametrize("bias", [True, False])
def test_a_step_for_each_head_is_expanded(bias):
    given = second(A=-normal(H).exp()[:, None, None].expand(H, D, N))
    given["dt"] = normal(B, H, seed=1)[..., None].expand(B, H, D)
    given |= dict(dt_bias=normal(H)[:, None].expand(H, D)) if bias else {}
    state, apart = normal(B, H, D, N), {n: t.contiguous() for n, t in given.items()}
    found, right = (
        moving(selective_state_update, state, dt_softplus=True)(**tensors)
        for tensors in (given, apart)
    )
    torch.testing.assert_close(found, right, **NARROW)
    other = moving(reference("mamba2"), state, dt_softplus=True)(**apart)
    torch.testing.assert_close(found, other, **NARROW)


@pytest.mark.parametrize("given", [first, second])
def test_gradients_pass_to_all_but_the_state(given):
    sizes = (D,) if given is first else (H, D)
    tensors = given(D=normal(*sizes), z=normal(B, *sizes, seed=2), dt_bias=normal(*sizes, seed=3))
    state = normal(B, *sizes, N)
    only_y = lambda call: lambda **leaves: moving(call, state, dt_softplus=True)(**leaves)[0]

    def written_out(state, x, dt, A, D, z, **others):
        B, C, dt_bias, _ = others.values()
        dt = torch.nn.functional.softplus(dt + dt_bias)[..., None]
        share = lambda t: (
            t[:, None] if given is first else t.repeat_interleave(H // G, 1)[:, :, None]
        )
        after = state * torch.exp(dt * A) + dt * x[..., None] * share(B)
        return ((after * share(C)).sum(-1) + x * D) * torch.nn.functional.silu(z)

    same(only_y(selective_state_update), only_y(written_out), tensors)
    selective_state_update(state, **{n: t.requires_grad_() for n, t in tensors.items()})
    assert not state.requires_grad


@pytest.mark.parametrize("kept", [torch.float32, torch.bfloat16])
def test_a_state_keeps_its_dtype_beside_halves(kept):
    halves = {n: t if n == "A" else t.bfloat16() for n, t in second(D=normal(H, D)).items()}
    halves |= dict(A=halves["A"].float(), dt_bias=normal(H, D).float())
    state = normal(B, H, D, N).bfloat16().to(kept)
    y, after = moving(selective_state_update, state, dt_softplus=True)(**halves)
    assert (y.dtype, after.dtype) == (torch.bfloat16, kept)
    wide = {n: t.double() for n, t in halves.items()}
    right, last = moving(reference("mamba2"), state.double(), dt_softplus=True)(**wide)
    torch.testing.assert_close(y.double(), right, rtol=2**-8, atol=1e-5)
    torch.testing.assert_close(after.double(), last, rtol=2**-8, atol=1e-5)


def test_steps_of_a_stream_are_the_scan_of_mamba():
    x, dt = normal(B, D, 4), normal(B, D, 4, seed=1)
    A, writes, reads = -normal(D, N).exp(), normal(B, N, 4), normal(B, N, 4, seed=1)
    y, last = selective_scan_fn(x, dt, A, writes, reads, delta_softplus=True,
                                return_last_state=True)  # fmt: skip
    state = torch.zeros(B, D, N, dtype=torch.float64)
    for t in range(4):
        own = (x[..., t], dt[..., t], A, writes[..., t], reads[..., t])
        one = selective_state_update(state, *own, dt_softplus=True)
        torch.testing.assert_close(one, y[..., t], **NARROW)
    torch.testing.assert_close(state, last, **NARROW)


def test_steps_of_a_stream_are_the_scan_of_mamba2():
    x, dt, A = normal(B, 4, H, D), normal(B, 4, H), -normal(H).exp()
    writes, reads = normal(B, 4, G, N), normal(B, 4, G, N, seed=1)
    y, last = mamba_chunk_scan_combined(x, dt, A, writes, reads, 2, dt_softplus=True,
                                        return_final_states=True)  # fmt: skip
    state = torch.zeros(B, H, D, N, dtype=torch.float64)
    rates = A[:, None, None].expand(H, D, N)
    for t in range(4):
        own = (x[:, t], dt[:, t, :, None].expand(B, H, D), rates, writes[:, t], reads[:, t])
        one = selective_state_update(state, *own, dt_softplus=True)
        torch.testing.assert_close(one, y[:, t], **NARROW)
    torch.testing.assert_close(state, last, **NARROW)
