"""The mixers beside programs that nobody here wrote: transformers, scipy, numpy and pandas."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import lfilter
from torch.nn.functional import softplus

import trilby
from tests.mixers import peers

FORMS = list(trilby.decay.forms)
T = 150  # two chunks of ours and a rest, many of theirs
CLOSE = dict(rtol=1e-11, atol=1e-11)  # float64: right programs agree to 1e-14 or so


class Layer:
    """A Mamba-2 layer of transformers whose inner calls are written down, with a cache."""

    def __init__(self, monkeypatch, groups=2, dtype=torch.float64):
        from transformers import DynamicCache, Mamba2Config

        modeling_mamba2 = peers.mamba2()
        if dtype == torch.float64:  # the layer computes inside in float32, whatever it is given
            monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
        sizes = dict(hidden_size=16, num_heads=4, head_dim=8, expand=2, state_size=6)
        config = Mamba2Config(**sizes, n_groups=groups, chunk_size=16, num_hidden_layers=1)
        torch.manual_seed(3)
        self.layer = modeling_mamba2.Mamba2Mixer(config, 0).eval().to(dtype)
        torch.nn.init.normal_(self.layer.D)
        self.cache = DynamicCache(config=config)
        self.calls = []
        for name in ("mamba2_chunk_scan", "mamba2_selective_state_update"):
            theirs = getattr(modeling_mamba2, name)
            monkeypatch.setattr(modeling_mamba2, name, self._written_down(theirs))

    def _written_down(self, theirs):
        def call(*arguments, **named):
            bound = inspect.signature(inspect.unwrap(theirs)).bind(*arguments, **named)
            found = theirs(*arguments, **named)
            self.calls.append((bound.arguments, found))
            return found

        return call

    def __call__(self, x):
        """The arguments and the result of the inner call, and the state in the cache after it."""
        with torch.no_grad():
            self.layer(x, cache=self.cache)
        return *self.calls.pop(), self.cache.get_recurrent_state(0, state_idx=0).clone()


def hidden(T=T, dtype=torch.float64, seed=0):
    return torch.randn(2, T, 16, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def into_ours(x, dt, A, B, C):
    """What the layer calls x, dt, A, B and C as q, k, v and g; dt is a step, not its logarithm."""
    return C, B, x * dt[..., None], dt * A


def of_prefill(given):
    """The inner arguments of a prefill as q, k, v, g, and the skip that is added to y."""
    dt = softplus(given["dt"] + given["dt_bias"])
    x = given["hidden_states"]
    return into_ours(x, dt, given["A"], given["B"], given["C"]), x * given["D"][:, None]


def of_step(given):
    """The same of a single step, which has no axis of time, and its rates spread over the state."""
    dt = softplus(given["dt"] + given["dt_bias"])[..., 0]
    x, B, C = given["hidden_states"], given["B"], given["C"]
    now = into_ours(x, dt, given["A"][:, 0, 0], B, C)
    return tuple(t[:, None] for t in now), (x * given["D"])[:, None]


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("form", FORMS)
def test_the_prefill_of_mamba2(form, groups, monkeypatch):
    given, (wanted, _), cached = Layer(monkeypatch, groups)(hidden())
    arguments, skip = of_prefill(given)
    assert [t.shape[2] for t in arguments] == [groups, groups, 4, 4]  # theirs are repeated inside
    y, state = trilby.decay(*arguments, form=form)
    torch.testing.assert_close(y + skip, wanted, **CLOSE)
    torch.testing.assert_close(state.mT, cached, **CLOSE)  # theirs is [B, H, V, K]


@pytest.mark.parametrize("form", FORMS)
def test_the_cached_steps_of_mamba2(form, monkeypatch):
    layer, x = Layer(monkeypatch), hidden(T=20)
    given, _, cached = layer(x[:, :13])
    sequences, state = [of_prefill(given)[0]], cached.mT
    for t in range(13, 20):
        given, wanted, cached = layer(x[:, t : t + 1])
        assert given["state"].shape == cached.shape  # this was the single step
        now, skip = of_step(given)
        y, state = trilby.decay(*now, state, form=form)
        torch.testing.assert_close((y + skip)[:, 0], wanted, **CLOSE)
        torch.testing.assert_close(state.mT, cached, **CLOSE)
        sequences.append(now)
    whole = [torch.cat(parts, 1) for parts in zip(*sequences, strict=True)]
    torch.testing.assert_close(trilby.decay(*whole, form=form)[1].mT, cached, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_the_gradients_of_mamba2(form, monkeypatch):
    mamba2_chunk_scan = peers.mamba2().mamba2_chunk_scan

    given, *_ = Layer(monkeypatch)(hidden())
    leaves = [given[name].detach() for name in ("hidden_states", "dt", "A", "B", "C")]
    leaves[1] = softplus(leaves[1] + given["dt_bias"].detach())
    before = torch.randn(2, 4, 8, 6, dtype=torch.float64)

    def theirs(x, dt, A, B, C, h):
        how = dict(chunk_size=16, initial_states=h, return_final_states=True)
        return mamba2_chunk_scan(x, dt, A, B, C, **how)

    def ours(x, dt, A, B, C, h):
        y, state = trilby.decay(*into_ours(x, dt, A, B, C), h.mT, form=form)
        return y, state.mT

    found = []
    for way in (theirs, ours):
        own = [t.clone().requires_grad_() for t in (*leaves, before)]
        y, state = way(*own)
        out = (y * torch.linspace(-1, 2, T, dtype=y.dtype)[:, None, None]).sum()
        found.append(torch.autograd.grad(out + state.sin().sum(), own))
    for got, wanted in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", ["chunk", "fused"])
def test_mamba2_in_float32_is_the_same_function(form, monkeypatch):
    mamba2_chunk_scan = peers.mamba2().mamba2_chunk_scan

    given, (wanted, _), cached = Layer(monkeypatch, dtype=torch.float32)(
        hidden(dtype=torch.float32)
    )
    (q, k, v, g), skip = of_prefill(given)

    def theirs(q, k, v, g):  # rates of 1 and steps of g, by which x is multiplied inside
        how = dict(chunk_size=16, return_final_states=True, dt_limit=(-torch.inf, torch.inf))
        y, state = mamba2_chunk_scan(v / g[..., None], g, g.new_ones(4), k, q, **how)
        return y, state.mT

    # values alone: theirs divides by g here and multiplies by it, so its gradient of g cancels
    verdict = trilby.same(theirs, trilby.decay.forms[form], q, k, v, g, gradients=False)
    assert verdict, verdict
    y, state = trilby.decay(q, k, v, g, form=form)
    torch.testing.assert_close(y + skip, wanted)  # torch's own measure of float32
    torch.testing.assert_close(state.mT, cached)


def fading(seed=0, start=0.0):
    """One channel with a constant decay: q, k, v [T] as arrays, and as trilby's arguments."""
    rng = np.random.default_rng(seed)
    q, k, v = rng.standard_normal((3, T))
    given = [torch.tensor(x).reshape(1, T, 1, 1) for x in (q, k, v)]
    g = torch.full((1, T, 1), np.log(0.9), dtype=torch.float64)
    return (q, k, v), (*given, g), torch.full((1, 1, 1, 1), start, dtype=torch.float64)


@pytest.mark.parametrize("start", [0.0, 3.5])
@pytest.mark.parametrize("form", FORMS)
def test_the_filter_of_scipy(form, start):
    (q, k, v), given, state = fading(start=start)
    leaves = [x.requires_grad_() for x in (*given, state)]
    y, after = trilby.decay(*leaves, form=form)
    h, left = lfilter([1], [1, -0.9], k * v, zi=[0.9 * start])  # what it holds has faded already
    np.testing.assert_allclose(y.detach().flatten(), q * h, **CLOSE)
    np.testing.assert_allclose(0.9 * after.item(), left[0], **CLOSE)

    dq, dk, dv, dg, dstate = torch.autograd.grad(y.sum(), leaves)
    dh = lfilter([1], [1, -0.9], q[::-1])[::-1]  # the way back is the same filter, from the end
    before = np.concatenate([[start], h[:-1]])
    np.testing.assert_allclose(dq.flatten(), h, **CLOSE)
    np.testing.assert_allclose(dk.flatten(), dh * v, **CLOSE)
    np.testing.assert_allclose(dv.flatten(), dh * k, **CLOSE)
    np.testing.assert_allclose(dg.flatten(), dh * 0.9 * before, **CLOSE)
    np.testing.assert_allclose(dstate.item(), dh[0] * 0.9, **CLOSE)


def test_the_filter_of_scipy_in_float32_is_the_same_function():
    _, (_, _, v, g), _ = fading()
    one = torch.ones_like(v)

    def theirs(v):
        h = lfilter([1], [1, -0.9], v.flatten().numpy())  # it answers in float64
        return torch.tensor(h, dtype=v.dtype).reshape(v.shape)

    def ours(v):
        return trilby.decay(one.to(v), one.to(v), v, g.to(v))[0]

    for dtype in (torch.float64, torch.float32):
        verdict = trilby.same(theirs, ours, v.to(dtype))
        assert verdict, verdict


def written_out(cell, q, k, a):
    """The value of `q2.k0 a1 a2` for one row and head."""
    score, *decays = cell.split()
    t, s = (int(name[1:]) for name in score.split("."))
    assert score == f"q{t}.k{s}"
    value = float(q[t] @ k[s])
    for name in decays:
        value *= float(a[int(name.removeprefix("a"))])
    return t, s, value


@pytest.mark.parametrize("form", FORMS)
def test_the_triangle_that_the_docstring_writes_out(form):
    lines = inspect.getdoc(inspect.getmodule(trilby.decay.loop)).splitlines()
    cells = [c for line in lines if line.startswith("    q") for c in re.split(r"  +", line.strip())
             if "." in c and "[" not in c]  # fmt: skip
    assert len(cells) == 6
    q, k, v, g = trilby.decay.draw(B=1, T=3, H=1, dtype=torch.float64)
    wei = torch.zeros(3, 3, dtype=torch.float64)
    for cell in cells:
        t, s, value = written_out(cell, q[0, :, 0], k[0, :, 0], g[0, :, 0].exp())
        wei[t, s] = value
    torch.testing.assert_close(trilby.decay.weights(q, k, v, g).wei[0, 0], wei, **CLOSE)
    torch.testing.assert_close(trilby.decay(q, k, v, g, form=form)[0][0, :, 0], wei @ v[0, :, 0],
                               **CLOSE)  # fmt: skip


def numpys(x):
    x = x.numpy()
    return torch.as_tensor(x.cumsum(1) / np.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None])


def pandas_(x):
    rows = [pd.DataFrame(row.numpy()).expanding().mean().to_numpy() for row in x]
    return torch.tensor(np.stack(rows), dtype=x.dtype)  # it answers in float64


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("theirs", [numpys, pandas_])
@pytest.mark.parametrize("form", list(trilby.mean.forms))
def test_the_mean_of_numpy_and_pandas(form, theirs, dtype):
    (x,) = trilby.mean.draw(B=2, T=T, C=3, dtype=dtype)
    verdict = trilby.same(theirs, lambda x: trilby.mean(x, form=form)[0], x)
    assert verdict, verdict


@pytest.mark.parametrize("form", list(trilby.mean.forms))
def test_the_state_and_the_gradient_of_the_mean_by_numpy(form):
    (x,) = trilby.mean.draw(B=2, T=T, C=3, dtype=torch.float64)
    y, state = trilby.mean(x.requires_grad_(), form=form)
    values = x.detach().numpy()
    np.testing.assert_allclose(state.total.detach(), values.sum(1), **CLOSE)
    assert state.count.tolist() == [T, T]
    (dx,) = torch.autograd.grad((y * x.detach()).sum(), x)
    shares = values / np.arange(1, T + 1)[:, None]  # y_t reads x_s with weight 1 / (t + 1)
    np.testing.assert_allclose(dx, shares[:, ::-1].cumsum(1)[:, ::-1], **CLOSE)
