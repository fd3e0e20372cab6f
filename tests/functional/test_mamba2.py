"""mamba-ssm: the scan of Mamba-2 and the layer around it, against those of transformers."""

import pytest
import torch
from torch.nn.functional import linear, rms_norm, silu, softplus

from tests.functional.outside import NARROW, layer, normal, same, same_layer, theirs
from trilby.functional import mamba_chunk_scan_combined, mamba_split_conv1d_scan_combined

B, T, H, P, G, N = 2, 7, 4, 3, 2, 5
CHUNK = 4


def given(**more):
    return dict(
        x=normal(B, T, H, P), dt=normal(B, T, H), A=-softplus(normal(H)), B=normal(B, T, G, N),
        C=normal(B, T, G, N, seed=1),
    ) | more  # fmt: skip


def reference(**how):
    """Their scan, under the names of mamba-ssm; it knows no gate and no skip of two sizes."""
    call = theirs("mamba2", "mamba2_chunk_scan")

    def scan(x, dt, A, B, C, D=None, z=None, **rest):
        y, *state = call(x, dt, A, B, C, CHUNK, return_final_states=True, **rest, **how)
        y = y if D is None else y + x * (D if D.ndim == 2 else D[:, None])
        return y if z is None else y * silu(z), *state

    return scan


@pytest.mark.parametrize(
    "more",
    [
        {},
        dict(D=normal(H)),
        dict(D=normal(H, P), z=normal(B, T, H, P, seed=2)),
        dict(dt_bias=normal(H), initial_states=normal(B, H, P, N)),
    ],
    ids=lambda more: "+".join(more) or "alone",
)
@pytest.mark.parametrize("limit", [(0.0, float("inf")), (0.0, 0.9), (0.3, 0.9)])
def test_the_scan_is_that_of_mamba2(more, limit):
    how = dict(dt_softplus=True, dt_limit=limit)
    ours = lambda **tensors: mamba_chunk_scan_combined(
        **tensors, chunk_size=CHUNK, return_final_states=True, **how
    )
    same(ours, reference(**how), given(**more))


def test_their_own_skip_is_ours():
    call = theirs("mamba2", "mamba2_chunk_scan")
    skip = given(D=normal(H), dt=softplus(normal(B, T, H)))
    same(
        lambda **tensors: mamba_chunk_scan_combined(**tensors, chunk_size=CHUNK),
        lambda **tensors: call(**dict(zip(("hidden_states",), [tensors.pop("x")], strict=True)),
                               **tensors, chunk_size=CHUNK),
        skip,
    )  # fmt: skip


def test_steps_without_a_softplus_are_kept_between_their_limits():
    how = dict(dt_limit=(0.0, 1.0))
    ours = lambda **tensors: mamba_chunk_scan_combined(
        **tensors, chunk_size=CHUNK, return_final_states=True, **how
    )
    same(ours, reference(**how), given())


def test_halves_are_computed_in_float32():
    half = {n: t.bfloat16() for n, t in given(z=normal(B, T, H, P, seed=2)).items() if n != "A"}
    rates = dict(A=given()["A"].float(), dt_bias=normal(H).float(), D=normal(H).float())
    how = dict(dt_softplus=True)
    y, state = mamba_chunk_scan_combined(
        **half, **rates, chunk_size=CHUNK, return_final_states=True, **how
    )
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    exactly = {n: t.double() for n, t in (half | rates).items()}
    right, last = reference(**how)(**exactly)
    torch.testing.assert_close(y.double(), right, rtol=2**-8, atol=1e-4)
    torch.testing.assert_close(state.double(), last, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("skip", [(H,), (H, P), (H * P,)], ids=str)
def test_the_layer_is_that_of_mamba2(skip):
    built = layer(
        "mamba2", "Mamba2", hidden_size=6, num_heads=H, head_dim=P, expand=2, state_size=N,
        n_groups=G, chunk_size=CHUNK, time_step_limit=(0.2, 0.9), use_bias=True,
    )  # fmt: skip
    wide = lambda D: D if skip == (H,) else D[:, None].expand(H, P).reshape(skip)

    def ours(x):
        return mamba_split_conv1d_scan_combined(
            built.in_proj(x), built.conv1d.weight[:, 0], built.conv1d.bias, built.dt_bias,
            -built.A_log.exp(), wide(built.D), CHUNK, dt_limit=(0.2, 0.9),
            rmsnorm_weight=built.norm.weight, rmsnorm_eps=built.norm.variance_epsilon,
            outproj_weight=built.out_proj.weight, outproj_bias=built.out_proj.bias,
            headdim=P, ngroups=G, norm_before_gate=False,
        )  # fmt: skip

    same_layer(built, "mamba2", ours, normal(B, T, 6))


@pytest.mark.parametrize("norm", ["before", "after", "none"])
def test_the_norm_stands_before_or_after_the_gate(norm):
    wide = H * P + 2 * G * N
    w = dict(
        zxbcdt=normal(B, T, H * P + wide + H), kernel=normal(wide, 4), bias=normal(wide),
        dt_bias=normal(H), A=-softplus(normal(H)), D=normal(H), state=normal(B, H, P, N),
    ) | (dict(weight=normal(H * P)) if norm != "none" else {})  # fmt: skip

    def ours(zxbcdt, kernel, bias, dt_bias, A, D, state, weight=None):
        return mamba_split_conv1d_scan_combined(
            zxbcdt, kernel, bias, dt_bias, A, D, CHUNK, state, return_final_states=True,
            rmsnorm_weight=weight, rmsnorm_eps=1e-3, headdim=P, ngroups=G,
            norm_before_gate=norm == "before",
        )  # fmt: skip

    def pieces(zxbcdt, kernel, bias, dt_bias, A, D, state, weight=None):
        z, xBC, dt = zxbcdt.split([H * P, wide, H], -1)
        xBC = theirs("mamba2", "causal_conv1d_fn")(xBC.mT, kernel, bias, "silu").mT
        x, Bs, Cs = xBC.split([H * P, G * N, G * N], -1)
        x, Bs, Cs = x.view(B, T, H, P), Bs.view(B, T, G, N), Cs.view(B, T, G, N)
        y, last = reference(dt_softplus=True)(
            x, dt, A, Bs, Cs, D, dt_bias=dt_bias, initial_states=state
        )
        y, gate = y.reshape(B, T, G, -1), silu(z).view(B, T, G, -1)
        normed = lambda t: rms_norm(t, t.shape[-1:], None, 1e-3) * weight.view(G, -1)
        whole = dict(before=lambda: normed(y) * gate, after=lambda: normed(y * gate))
        return whole.get(norm, lambda: y * gate)().flatten(2), last

    same(ours, pieces, w)


def test_an_activation_may_be_left_out_and_a_projection_follows():
    wide = H * P + 2 * G * N
    given = (
        normal(B, T, H * P + wide + H),
        normal(wide, 4),
        None,
        normal(H),
        -torch.ones(H).double(),
    )
    out, lift = normal(2, H * P), normal(2)
    how = dict(headdim=P, ngroups=G, activation=None)
    y = mamba_split_conv1d_scan_combined(*given, normal(H), CHUNK, **how)
    assert y.shape == (B, T, H * P)
    projected = mamba_split_conv1d_scan_combined(
        *given, normal(H), CHUNK, outproj_weight=out, outproj_bias=lift, **how
    )
    torch.testing.assert_close(projected, linear(y, out, lift), **NARROW)
    bent = mamba_split_conv1d_scan_combined(*given, normal(H), CHUNK, headdim=P, ngroups=G)
    assert not torch.allclose(y, bent)
