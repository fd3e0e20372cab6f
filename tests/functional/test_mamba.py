"""mamba-ssm: the selective scan and the layer around it, against those of transformers."""

import pytest
import torch
from torch.nn.functional import linear, rms_norm, softplus

from tests.functional.outside import NARROW, layer, normal, same, same_layer, theirs
from trilby.functional import mamba_inner_fn, selective_scan_fn

B, D, T, N = 2, 4, 7, 3


def given(**more):
    return dict(
        u=normal(B, D, T), delta=softplus(normal(B, D, T, seed=1)), A=-softplus(normal(D, N)),
        B=normal(B, N, T), C=normal(B, N, T, seed=1),
    ) | more  # fmt: skip


def reference():
    """Their scan, under the names of mamba-ssm."""
    call = theirs("mamba", "mamba_selective_scan")

    def scan(u, delta, A, B, C, **rest):
        return call(u, delta, A, B, C, **rest)

    return scan


@pytest.mark.parametrize(
    "more",
    [
        {},
        dict(D=normal(D)),
        dict(z=normal(B, D, T, seed=2)),
        dict(delta_bias=normal(D, seed=2)),
        dict(D=normal(D), z=normal(B, D, T, seed=2), delta_bias=normal(D, seed=2)),
    ],
    ids=lambda more: "+".join(more) or "alone",
)
@pytest.mark.parametrize("positive", [True, False])
def test_the_scan_is_that_of_mamba(more, positive):
    how = dict(delta_softplus=positive, return_last_state=True)
    ours = lambda **tensors: selective_scan_fn(**tensors, **how)
    other = reference()
    same(ours, lambda **tensors: other(**tensors, **how), given(**more))


def test_without_a_wish_there_is_no_state():
    y, _ = selective_scan_fn(**given(), return_last_state=True)
    torch.testing.assert_close(selective_scan_fn(**given()), y, **NARROW)


def test_groups_of_channels_share_what_is_written_and_read():
    groups = given(B=normal(B, 2, N, T), C=normal(B, 2, N, T, seed=1), D=normal(D))

    def apart(u, delta, A, B, C, D):
        halves = [slice(0, 2), slice(2, 4)]
        parts = [
            reference()(
                u[:, half], delta[:, half], A[half], B[:, i], C[:, i], D=D[half],
                return_last_state=True,
            )
            for i, half in enumerate(halves)
        ]  # fmt: skip
        return [torch.cat(t, 1) for t in zip(*parts, strict=True)]

    same(lambda **tensors: selective_scan_fn(**tensors, return_last_state=True), apart, groups)


def test_halves_are_computed_in_float32():
    half = {n: t.bfloat16() for n, t in given().items() if n != "A"} | dict(A=given()["A"].float())
    more = dict(D=normal(D).float(), z=normal(B, D, T, seed=2).bfloat16())
    how = dict(delta_bias=normal(D).float(), delta_softplus=True, return_last_state=True)
    y, last = selective_scan_fn(**half, **more, **how)
    assert (y.dtype, last.dtype) == (torch.bfloat16, torch.float32)
    exactly = {n: t.double() for n, t in (half | more).items()}
    right, state = reference()(**exactly, **how)
    torch.testing.assert_close(y.double(), right, rtol=2**-6, atol=2**-7)
    torch.testing.assert_close(last.double(), state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_that_of_mamba(bias):
    built = layer(
        "mamba", "Mamba", hidden_size=4, state_size=3, expand=2, time_step_rank=2, use_bias=bias,
        use_conv_bias=bias,
    )  # fmt: skip

    def ours(x):
        return mamba_inner_fn(
            built.in_proj(x).mT, built.conv1d.weight, built.conv1d.bias, built.x_proj.weight,
            built.dt_proj.weight, built.out_proj.weight, built.out_proj.bias,
            -built.A_log.exp(), None, None, built.D, delta_bias=built.dt_proj.bias,
        )  # fmt: skip

    same_layer(built, "mamba", ours, normal(B, T, 4))


def test_norms_and_biases_inside_the_layer():
    R, eps = 2, 1e-3
    w = dict(
        xz=normal(B, 2 * D, T), kernel=normal(D, 1, 4), into=normal(R + 2 * N, D),
        lift=normal(D, R), out=normal(5, D), A=-softplus(normal(D, N)), b_add=normal(N),
        c_add=normal(N, seed=1), b=normal(N, seed=2), c=normal(N, seed=3), dt=normal(R),
    )  # fmt: skip

    def ours(xz, kernel, A, b_add, c_add, **others):
        into, lift, out, b, c, dt = others.values()
        return mamba_inner_fn(
            xz, kernel, None, into, lift, out, None, A, B_proj_bias=b_add, C_proj_bias=c_add,
            b_rms_weight=b, c_rms_weight=c, dt_rms_weight=dt, b_c_dt_rms_eps=eps,
        )  # fmt: skip

    def pieces(xz, kernel, A, b_add, c_add, **others):
        into, lift, out, b, c, dt = others.values()
        x, z = xz.chunk(2, 1)
        x = theirs("mamba", "causal_conv1d_fn")(x, kernel[:, 0], None, "silu")
        steps, writes, reads = linear(x.mT, into).split([R, N, N], -1)
        norm = lambda t, weight: rms_norm(t, t.shape[-1:], weight, eps)
        y = reference()(
            x, (norm(steps, dt) @ lift.mT).mT, A, norm(writes + b_add, b).mT,
            norm(reads + c_add, c).mT, z=z, delta_softplus=True,
        )  # fmt: skip
        return y.mT @ out.mT

    same(ours, pieces, w)


def test_what_is_given_is_not_projected():
    R = 2
    xz, lift, out = normal(B, 2 * D, T), normal(D, R), normal(5, D)
    kernel, A, into = normal(D, 1, 4), -softplus(normal(D, N)), normal(R + 2 * N, D)
    convolved = theirs("mamba", "causal_conv1d_fn")(xz[:, :D], kernel[:, 0], None, "silu")
    writes, reads = (convolved.mT @ into[R:].mT).mT.split(N, 1)
    rest = (lift, out, None, A)
    right = mamba_inner_fn(xz, kernel, None, into, *rest)
    y = mamba_inner_fn(xz, kernel, None, into[:R], *rest, writes, reads)
    torch.testing.assert_close(y, right, **NARROW)
    only_reads = torch.cat([into[:R], into[R + N :]])
    y = mamba_inner_fn(xz, kernel, None, only_reads, *rest, writes)
    torch.testing.assert_close(y, right, **NARROW)
