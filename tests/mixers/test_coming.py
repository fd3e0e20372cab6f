"""docs/coming.md: in every group of lines the rest does what the first one does."""

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import lfilter
from torch.nn.functional import conv1d, elu, scaled_dot_product_attention, silu, softplus

import trilby
from tests.mixers import peers
from trilby import functional

PAGE = (Path(__file__).parents[2] / "docs" / "coming.md").read_text("utf-8")
B, T, H, K, V = 2, 11, 4, 6, 5


def pairs():
    """(section, their statement, our statements), as they stand on the page."""
    for section in PAGE.split("\n## ")[1:]:
        name = section.partition("\n")[0]
        for block in re.findall(r"```python\n(.*?)```", section, re.S):
            for pair in block.strip().split("\n\n"):
                first, *rest = map(ast.unparse, ast.parse(pair).body)
                yield pytest.param(name, first, "\n".join(rest), id=f"{name}: {first[:60]}")


def names():
    """What the lines of the page speak of, in float64."""
    rng = torch.Generator().manual_seed(0)

    def normal(*size):
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    q, k, v, g = trilby.decay.draw(B=B, T=T, H=H, K=K, V=V, dtype=torch.float64)
    dt, A = softplus(normal(B, T, H)), -softplus(normal(H))
    a = normal(B, T, 3)
    u, h0 = normal(T).numpy(), normal(B, H, K, V)
    raw, bias, D = normal(B, T, H), normal(H), normal(H)
    k2, v2 = normal(B, T, 2, K), normal(B, T, 2, V)
    return dict(
        B=B, T=T, H=H, K=K, V=V, q=q, k=k, v=v, g=g, h0=h0, dt=dt, A=A,
        gamma=-softplus(normal(H)), offsets=torch.tensor([0, 3, 4, T]),
        qh=q.transpose(1, 2), kh=k.transpose(1, 2), vh=v.transpose(1, 2), gh=g.transpose(1, 2),
        q2=normal(B, T, 2, K), k2=k2, v2=v2, k2h=k2.transpose(1, 2), v2h=v2.transpose(1, 2),
        t=torch.arange(T),
        gk=-softplus(normal(B, T, H, K)),
        beta=2 * raw.sigmoid(), raw=raw, bias=bias, D=D, z=normal(B, T, H, V),
        x=normal(B, T, H, V), Bs=normal(B, T, 2, K), Cs=normal(B, T, 2, K),
        xs=normal(B, T, 6), dts=softplus(normal(B, T, 6)), kernel=normal(6, 4), lift=normal(6),
        rates1=-softplus(normal(6, 5)), Bn=normal(B, T, 5), Cn=normal(B, T, 5), passes=normal(6),
        kept=normal(B, 6, 4), scores=normal(B, T, 6), still=torch.full((6,), -torch.inf),
        fq=100 * q.exp(), fk=100 * k.exp(), query=normal(K), phi=lambda x: elu(x) + 1,
        steps=raw[:, 0, :, None].expand(B, H, V), rates=A[:, None, None].expand(H, V, K),
        skips=D[:, None].expand(H, V), biases=bias[:, None].expand(H, V), old=h0.mT,
        documents=torch.tensor([[0] * T, [0] * 3 + [1] * (T - 3)], dtype=torch.int32),
        one=torch.ones(1, T, 1, 1, dtype=torch.float64), a=a.numpy(), frame=pd.DataFrame(a[0]),
        s=a[:1, :, None], u=u, zi=np.array([1.5]),
        np=np, torch=torch, trilby=trilby, lfilter=lfilter, softplus=softplus, silu=silu,
        conv1d=conv1d, sdpa=scaled_dot_product_attention,
        scaled_dot_product_attention=scaled_dot_product_attention,
        flash_attn_func=peers.flash_attn_func, alibis=softplus(normal(H)), **masks(normal(H)),
    )  # fmt: skip


def masks(sinks):
    """What a query does not see is -inf: what is later, and what is more than 4 before it."""
    far = torch.arange(T)[:, None] - torch.arange(T)
    causal = torch.zeros(T, T, dtype=torch.float64).masked_fill(far < 0, -torch.inf)
    layer = torch.nn.Module().eval()
    layer.num_key_value_groups, layer.sinks = H // 2, sinks
    return dict(causal=causal, band=causal.masked_fill(far > 4, -torch.inf), layer=layer)


def run(lines, given, wanted):
    """What the lines leave under the names that are wanted."""
    known = given | {name: given[name].clone() for name in ("old", "kept")}
    exec(lines, known)
    return {name: torch.tensor(np.asarray(known[name])) for name in wanted}


def inside(given, monkeypatch):
    """The functions of transformers; its layer computes in float32, here in float64."""
    from transformers.models.llama.modeling_llama import repeat_kv
    from transformers.models.mamba import modeling_mamba
    from transformers.models.rwkv import modeling_rwkv

    modeling_mamba2 = peers.mamba2()
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    rules, kimi = peers.qwen3_next(monkeypatch), peers.kimi_linear(monkeypatch)
    found = {"repeat_kv": repeat_kv} | attentions(monkeypatch)
    for module, theirs in (
        (modeling_mamba2, ("mamba2_chunk_scan", "mamba2_selective_state_update")),
        (modeling_mamba, ("causal_conv1d_fn", "causal_conv1d_update", "mamba_selective_scan")),
        (modeling_rwkv, ("rwkv_linear_attention_cpu",)),
        (rules, ("torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule", "l2norm")),
        (kimi, ("chunk_kimi_delta_attention", "recurrent_kimi_delta_attention")),
    ):
        found |= {name: getattr(module, name) for name in theirs}
    return given | found


def attentions(monkeypatch):
    """Attention as layers of transformers call it; their softmax is in float32, here in float64."""
    from transformers.models.gemma2 import modeling_gemma2
    from transformers.models.gpt_oss import modeling_gpt_oss
    from transformers.models.llama import modeling_llama
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    monkeypatch.setattr(torch, "float32", torch.float64)
    return dict(
        llama_attention=modeling_llama.eager_attention_forward,
        gemma2_attention=modeling_gemma2.eager_attention_forward,
        gpt_oss_attention=modeling_gpt_oss.eager_attention_forward,
        build_mpt_alibi_tensor=build_mpt_alibi_tensor,
    )


def decoded(given, monkeypatch):
    """A layer of transformers after a prefill: its cache, and what it computed inside."""
    from tests.mixers.test_outside import Layer, hidden, of_prefill

    layer = Layer(monkeypatch)
    (Cs, Bs, v, g), _ = of_prefill(layer(hidden(T=T))[0])
    Cs, Bs, v, g = (t.detach() for t in (Cs, Bs, v, g))
    one = torch.ones_like(g)  # x * dt is v already, and dt * A is g
    return given | dict(cache=layer.cache, Cs=Cs, Bs=Bs, x=v, dt=one, A=g)


@pytest.mark.parametrize(("name", "theirs", "ours"), list(pairs()))
def test_a_pair_of_lines_is_one_function(name, theirs, ours, monkeypatch):
    given = names()
    if name == "transformers":
        given = inside(given, monkeypatch)
    if "cache." in theirs:
        given = decoded(given, monkeypatch)
    if name in ("torch", "numpy", "pandas"):
        given["x"] = torch.from_numpy(given["a"])
    if name in ("flash-linear-attention", "mamba-ssm"):
        given |= {n: getattr(peers, n) for n in dir(peers)}
    if name == "The same names":
        given |= {n: getattr(functional, n) for n in functional.__all__}
    assert "trilby." in ours
    wanted = [name for name in theirs.partition(" = ")[0].strip("()").split(", ") if name != "_"]
    wanted += ["old"] * ("(old, " in theirs)  # a state that is written in place
    found, right = (run(lines, given, wanted) for lines in (ours, theirs))
    for name in wanted:
        torch.testing.assert_close(found[name], right[name], rtol=1e-11, atol=1e-11)


def test_every_function_of_a_package_is_named():
    section = PAGE.partition("## The same names")[2].partition("\n## ")[0]
    assert [name for name in functional.__all__ if name not in section] == []


def test_every_peer_that_is_named_has_lines():
    sections = {p.values[0] for p in pairs()}
    assert sections == {"flash-linear-attention", "mamba-ssm", "transformers", "torch", "numpy",
                        "pandas", "scipy", "The same names"}  # fmt: skip
