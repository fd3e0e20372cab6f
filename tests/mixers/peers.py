"""Stand-ins for programs that do not import here, written from their documented formulas.

flash-linear-attention: `S_t = exp(g_t) S_{t-1} + k_t v_t^T`, `o_t = scale S_t^T q_t` for each head;
the scale is 1 / sqrt(K) unless given, and `cu_seqlens` has a state for each document.
mamba-ssm: `h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t^T`, `y_t = h_t C_t + D x_t`, times
silu(z_t); dt is first biased and made positive if asked, B and C serve groups of heads that follow
each other, and a new number in `seq_idx` begins anew. Signatures are those of their
documentation and sources.
"""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu, softplus


def recurrence(q: Tensor, k: Tensor, v: Tensor, g: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """One row: q, k [T, H, K], v [T, H, V], g [T, H] and S [H, K, V], position by position."""
    o = []
    for q_t, k_t, v_t, g_t in zip(q, k, v, g, strict=True):
        S = torch.exp(g_t)[:, None, None] * S + torch.einsum("hk,hv->hkv", k_t, v_t)
        o.append(torch.einsum("hk,hkv->hv", q_t, S))
    return torch.stack(o), S


def known(given: dict[str, Any], **usual: Any) -> SimpleNamespace:
    """Named arguments with their usual values, and none that there is not."""
    assert given.keys() <= usual.keys(), given.keys() - usual.keys()
    return SimpleNamespace(**usual | given)


def chunk_simple_gla(q, k, v, g=None, **given):
    """`fla.ops.simple_gla.chunk_simple_gla`, `head_first` as its older releases have it."""
    how = known(
        given, g_gamma=None, scale=None, initial_state=None, output_final_state=False,
        state_v_first=False, cu_seqlens=None, head_first=False,
    )  # fmt: skip
    if how.head_first:
        q, k, v, g = (x.transpose(1, 2) for x in (q, k, v, g))
    B, T, H, K = q.shape
    assert k.shape == q.shape
    assert v.shape[:3] == (B, T, H)
    g = how.g_gamma.expand(B, T, H) if g is None else g
    scale = K**-0.5 if how.scale is None else how.scale
    cuts = [(b, 0, T) for b in range(B)]
    if how.cu_seqlens is not None:
        assert B == 1
        cuts = [(0, *ends) for ends in pairwise(how.cu_seqlens)]
    o, final = torch.zeros_like(v), []
    for n, (b, start, stop) in enumerate(cuts):
        S = v.new_zeros(H, K, v.shape[-1])
        if how.initial_state is not None:
            S = how.initial_state[n].mT if how.state_v_first else how.initial_state[n]
        now = slice(start, stop)
        o[b, now], S = recurrence(scale * q[b, now], k[b, now], v[b, now], g[b, now], S)
        final.append(S.mT if how.state_v_first else S)
    o = o.transpose(1, 2) if how.head_first else o
    return o, torch.stack(final) if how.output_final_state else None


fused_recurrent_simple_gla = chunk_simple_gla  # the same contract


def mamba_chunk_scan_combined(x, dt, A, B, C, chunk_size, **given):
    """`mamba_ssm.ops.triton.ssd_combined.mamba_chunk_scan_combined`; chunks change no value."""
    how = known(
        given, D=None, z=None, dt_bias=0, initial_states=None, seq_idx=None, dt_softplus=False,
        dt_limit=(0.0, float("inf")), return_final_states=False,
    )  # fmt: skip
    dt = dt + how.dt_bias
    dt = (softplus(dt) if how.dt_softplus else dt).clamp(*how.dt_limit)
    n, H = x.shape[0], x.shape[2]
    B, C = (t.repeat_interleave(H // t.shape[2], 2) for t in (B, C))
    h = how.initial_states
    h = x.new_zeros(n, H, x.shape[3], B.shape[3]) if h is None else h
    y = torch.zeros_like(x)
    for t in range(x.shape[1]):
        fade = torch.exp(dt[:, t] * A)
        if how.seq_idx is not None and t:
            fade = fade * (how.seq_idx[:, t] == how.seq_idx[:, t - 1])[:, None]
        new = torch.einsum("bh,bhp,bhn->bhpn", dt[:, t], x[:, t], B[:, t])
        h = fade[..., None, None] * h + new
        y[:, t] = torch.einsum("bhpn,bhn->bhp", h, C[:, t])
    y = y if how.D is None else y + how.D[:, None] * x
    y = y if how.z is None else y * silu(how.z)
    return (y, h) if how.return_final_states else y


def selective_state_update(state, x, dt, A, B, C, D, **given):
    """`mamba_ssm.ops.triton.selective_state_update`: one position, written into `state`."""
    how = known(given, dt_bias=None, dt_softplus=False)
    now = (x[:, None], dt[:, None, :, 0], A[:, 0, 0], B[:, None], C[:, None], 1)
    more = dict(D=D[:, 0], dt_bias=how.dt_bias[:, 0], dt_softplus=how.dt_softplus)
    y, after = mamba_chunk_scan_combined(
        *now, **more, initial_states=state, return_final_states=True
    )
    state.copy_(after)
    return y[:, 0]


def chunk_gated_delta_rule(q, k, v, g=None, beta=None, **given):
    """`fla.ops.gated_delta_rule.chunk_gated_delta_rule`; chunks change no value."""
    how = known(
        given, scale=None, initial_state=None, output_final_state=False,
        use_qk_l2norm_in_kernel=False,
    )  # fmt: skip
    if how.use_qk_l2norm_in_kernel:
        q, k = (x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6) for x in (q, k))
    S, o = how.initial_state, torch.zeros_like(v)
    S = v.new_zeros(*v.shape[:1], *k.shape[2:], v.shape[3]) if S is None else S
    for t in range(v.shape[1]):
        fade = torch.ones(1) if g is None else torch.exp(g[:, t])  # of each head, or each channel
        S = S * fade.reshape(*fade.shape, *[1] * (4 - fade.ndim))
        e = v[:, t] - torch.einsum("bhkv,bhk->bhv", S, k[:, t])
        S = S + torch.einsum("bhk,bhv->bhkv", k[:, t], beta[:, t, :, None] * e)
        o[:, t] = torch.einsum("bhkv,bhk->bhv", S, q[:, t])
    o = o * (q.shape[-1] ** -0.5 if how.scale is None else how.scale)
    return o, S if how.output_final_state else None


def chunk_delta_rule(q, k, v, beta, **given):
    """`fla.ops.delta_rule.chunk_delta_rule`, which has no gate."""
    return chunk_gated_delta_rule(q, k, v, None, beta, **given)


def chunk_kda(q, k, v, g, beta, **given):
    """`fla.ops.kda.chunk_kda`, whose gates are [B, T, H, K]."""
    return chunk_gated_delta_rule(q, k, v, g, beta, **given)


fused_recurrent_kda = chunk_kda  # the same contract


def chunk_linear_attn(q, k, v, **given):
    """`fla.ops.linear_attn.chunk_linear_attn`: its normaliser has the keys of this call alone."""
    how = known(
        given, scale=None, initial_state=None, output_final_state=False, normalize=True,
    )  # fmt: skip
    scale = q.shape[-1] ** -0.5 if how.scale is None else how.scale
    start = dict(initial_state=how.initial_state, output_final_state=True)
    o, final = chunk_simple_gla(q, k, v, torch.zeros_like(q[..., 0]), scale=scale, **start)
    if how.normalize:
        o = o / (torch.einsum("bthk,bthk->bth", scale * q, k.cumsum(1))[..., None] + 1e-10)
    return o, final if how.output_final_state else None


fused_recurrent_linear_attn = chunk_linear_attn  # the same contract


class Double:
    """torch, to a module that computes in float32 whatever it is given."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def qwen3_next(monkeypatch):
    """The module of Qwen3-Next of transformers, which has the gated delta rule, in float64."""
    module = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")
    if not hasattr(module, "torch_chunk_gated_delta_rule"):
        pytest.skip("transformers has no torch_chunk_gated_delta_rule")
    monkeypatch.setattr(module, "torch", Double())
    return module


def mamba2():
    """The module of Mamba-2 of transformers; its functions on tensors came with release 5."""
    import transformers
    from transformers.models.mamba2 import modeling_mamba2

    if int(transformers.__version__.partition(".")[0]) < 5:
        pytest.skip(f"transformers {transformers.__version__} has no mamba2_chunk_scan")
    return modeling_mamba2


def kimi_linear(monkeypatch):
    """The module of Kimi Linear of transformers, which has its delta attention, in float64."""
    module = pytest.importorskip("transformers.models.kimi_linear.modeling_kimi_linear")
    monkeypatch.setattr(module, "torch", Double())
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    return module


def flash_attn_func(q, k, v, **given):
    """`flash_attn.flash_attn_func`, row by row; a query sees `window_size` keys on each side."""
    how = known(
        given, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0,
        alibi_slopes=None,
    )  # fmt: skip
    k, v = (x.repeat_interleave(q.shape[2] // x.shape[2], 2) for x in (k, v))
    left, right = how.window_size
    right = 0 if how.causal else right
    scale = q.shape[-1] ** -0.5 if how.softmax_scale is None else how.softmax_scale
    o = torch.zeros(*q.shape[:3], v.shape[3], dtype=q.dtype)
    for i in range(q.shape[1]):
        p = i + k.shape[1] - q.shape[1]  # aligned bottom right
        first = 0 if left < 0 else max(0, p - left)
        last = k.shape[1] if right < 0 else min(k.shape[1], p + right + 1)
        z = scale * torch.einsum("bhk,bshk->bhs", q[:, i], k[:, first:last])
        z = how.softcap * torch.tanh(z / how.softcap) if how.softcap else z
        if how.alibi_slopes is not None:
            z = z - how.alibi_slopes[:, None] * (p - torch.arange(first, last)).abs()
        o[:, i] = torch.einsum("bhs,bshv->bhv", z.softmax(-1), v[:, first:last])
    return o
