"""Attention beside torch's and transformers', and what its contract says to the letter."""

import re
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import trilby
from tests.mixers.sweep import extended, laid_out
from trilby.errors import TrilbyError
from trilby.kernels.machine import threads
from trilby.shapes import FLOATING

attention = trilby.attention
FORMS = list(attention.forms)
CLOSE = dict(rtol=1e-10, atol=1e-11)  # float64: right programs agree to 1e-13 or so
HEADS = [(4, 2, 2), (4, 4, 1), (2, 4, 4), (4, 4, 4)]
OPTIONS = {
    "plain": {},
    "window": dict(window=4),
    "itself": dict(window=1),
    "cap": dict(cap=2.0, scale=0.7),
    "sinks": dict(sinks=True, window=130),
    "all": dict(sinks=True, slopes=True, cap=3.0, window=6),
}


def normal(*size, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=rng, dtype=torch.float64)


def drawn(T, heads=(4, 2, 2), K=6, V=6, B=2, seed=0):
    sizes = zip(heads, (K, K, V), strict=True)
    return [normal(B, T, n, size, seed=seed + i) for i, (n, size) in enumerate(sizes)]


def options(name, H=4):
    bias = dict(sinks=normal(H, seed=8), slopes=normal(H, seed=9).abs())
    return {n: bias[n] if value is True else value for n, value in OPTIONS[name].items()}


def ids(T):
    return torch.stack([torch.arange(T) * 3 // max(T, 1), torch.arange(T) * 2 // max(T, 1)])


def whole(way, tensors):
    """The results, and the gradients of all tensors for uneven gradients of the results."""
    leaves = {n: t.detach().clone().requires_grad_() for n, t in tensors.items()}
    out = [o for o in tree_leaves(way(**leaves)) if o.is_floating_point()]
    seeds = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) for o in out]
    grads = torch.autograd.grad(out, list(leaves.values()), seeds, materialize_grads=True)
    return out, grads


def by_torch(q, k, v, mask, **how):
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return sdpa(q, k, v, attn_mask=mask, enable_gqa=True, **how).transpose(1, 2)


def band(T, S=0, window=None):
    """Which of S + T keys the last T of them see."""
    far = torch.arange(S, S + T)[:, None] - torch.arange(S + T)
    return (far >= 0) & (far < (window or S + T))


@pytest.mark.parametrize("window", [None, 1, 5, 70])
@pytest.mark.parametrize("heads", [(4, 2, 2), (4, 4, 4), (4, 1, 1)])
@pytest.mark.parametrize("form", FORMS)
def test_values_and_gradients_are_those_of_torch(form, heads, window):
    T = 20
    given = dict(zip("qkv", drawn(T, heads), strict=True))
    for scale in (None, 0.3):
        ours = lambda q, k, v, scale=scale: attention(
            q, k, v, form=form, scale=scale, window=window
        )[0]
        mask = band(T, 0, window)
        right = whole(lambda q, k, v, scale=scale: by_torch(q, k, v, mask, scale=scale), given)  # noqa: B023
        torch.testing.assert_close(whole(ours, given), right, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_queries_are_the_last_ones_of_all_keys(form):
    q, k, v = drawn(12)
    _, state = attention(q[:, :9], k[:, :9], v[:, :9], form=form)
    for T in (1, 3):
        here = slice(9, 9 + T)
        y, _ = attention(q[:, here], k[:, here], v[:, here], state, form=form)
        right = by_torch(q[:, here], k[:, : 9 + T], v[:, : 9 + T], band(T, 9))
        torch.testing.assert_close(y, right, **CLOSE)


@pytest.mark.parametrize("model", ["llama", "gemma2", "gpt_oss"])
@pytest.mark.parametrize("form", FORMS)
def test_layers_of_transformers(form, model, monkeypatch):
    module = pytest.importorskip(f"transformers.models.{model}.modeling_{model}")
    layer = torch.nn.Module().eval()
    layer.num_key_value_groups = 2
    given = dict(zip("qkv", drawn(30), strict=True))
    how = {"gemma2": dict(cap=1.5), "gpt_oss": {}, "llama": {}}[model]
    if model == "gpt_oss":
        given["sinks"] = normal(4, seed=8)
    mask = torch.zeros(30, 30, dtype=torch.float64).masked_fill(~band(30, 0, 7), -torch.inf)

    def theirs(q, k, v, sinks=None):
        layer.__dict__["sinks"] = sinks
        more = {"softcap": how["cap"]} if how else {}
        heads = (x.transpose(1, 2) for x in (q, k, v))
        return module.eager_attention_forward(layer, *heads, mask, scaling=0.4, **more)[0]

    monkeypatch.setattr(torch, "float32", torch.float64)  # their softmax is in float32
    right = whole(theirs, given)
    monkeypatch.undo()
    ours = lambda **a: attention(**a, **how, scale=0.4, window=7, form=form)[0]
    torch.testing.assert_close(whole(ours, given), right, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_slopes_are_those_of_bloom(form):
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    q, k, v = drawn(20, (4, 4, 4))
    alibi = bloom.build_alibi_tensor(torch.ones(2, 20), 4, torch.float64).view(2, 4, 1, 20)
    mask = alibi.expand(2, 4, 20, 20).masked_fill(~band(20), -torch.inf)
    slopes = alibi[0, :, 0, 1]
    _, state = attention(q[:, :11], k[:, :11], v[:, :11], slopes=slopes, form=form)
    y, _ = attention(q[:, 11:], k[:, 11:], v[:, 11:], state, slopes=slopes, form=form)
    torch.testing.assert_close(y, by_torch(q, k, v, mask)[:, 11:], **CLOSE)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("form", FORMS[1:])
def test_every_option_and_its_gradients_are_those_of_the_loop(form, name):
    for T, packed, heads in ((1, True, HEADS[0]), (9, False, HEADS[1]), (9, True, HEADS[2])):
        q, k, v = drawn(T, heads, V=5)
        past = attention.loop(*drawn(5, heads, V=5, seed=4), None, ids(5))[1]
        bias = {n: x for n, x in options(name).items() if isinstance(x, torch.Tensor)}
        how = {n: x for n, x in options(name).items() if n not in bias}
        given = dict(q=q, k=k, v=v, keys=past.keys, values=past.values, **bias)

        def way(form, keys, values, T=T, packed=packed, past=past, how=how, **given):
            state = past._replace(keys=keys, values=values)
            return attention(
                **given, state=state, documents=ids(T) if packed else None, form=form, **how
            )

        found, right = (whole(lambda way=way, f=f, **a: way(f, **a), given) for f in (form, "loop"))
        torch.testing.assert_close(found, right, **CLOSE)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_pieces_equal_the_whole_with_documents_that_begin_apart(form, name):
    T, how, documents = 13, options(name), ids(13)
    given = drawn(T)
    y, after = attention.loop(*given, None, documents, **how)
    state, found = None, []
    for a, b in pairwise((0, 1, 2, 2, 6, 7, 12, 13)):
        here = documents[:, max(a - 1, 0) : b].clone()
        part = [x[:, a:b] for x in given]
        if a:  # the state belongs to the document of the first position, so begin there
            new = here[:, 1:2] != here[:, :1]
            state = state._replace(count=state.count.masked_fill(new.any(1), 0)) if b > a else state
            here = here[:, 1:]
        now, state = attention(*part, state, here, form=form, **how)
        found.append(now)
    torch.testing.assert_close(torch.cat(found, 1), y, **CLOSE)
    torch.testing.assert_close(extended(attention, state, after), after, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_a_window_bounds_the_state_and_a_large_one_is_none(form):
    q, k, v = drawn(20)
    plain = attention(q, k, v, form=form)
    for window in (21, 500):
        y, state = attention(q, k, v, form=form, window=window)
        torch.testing.assert_close((y, state.keys), (plain[0], plain[1].keys), **CLOSE)
    y, state = attention(q, k, v, form=form, window=4)
    assert list(state.keys.shape) == [2, 3, 2, 6]
    assert state.count.tolist() == [20, 20]
    for p in (17, 18, 19):
        assert torch.equal(state.keys[:, p % 3], k[:, p])
    y, state = attention(q, k, v, form=form, window=1)
    torch.testing.assert_close(y, v.repeat_interleave(2, 2), **CLOSE)
    assert state.keys.shape[1] == 0


@pytest.mark.parametrize("form", FORMS)
def test_the_state_of_rows_that_began_apart(form):
    _, k, _ = given = drawn(6)
    documents = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 1, 1, 1, 1, 1]])
    state = attention(*given, None, documents, form=form)[1]
    assert state.count.tolist() == [2, 5]
    assert torch.equal(state.keys[0, :2], k[0, 4:])
    assert torch.equal(state.keys[1, :5], k[1, 1:])
    assert not state.keys[0, 2:].any()


@pytest.mark.parametrize("form", FORMS)
def test_a_query_that_no_key_fits_is_0(form):
    big = torch.full((1, 3, 1, 1), 1e30)
    none = torch.full((1,), -torch.inf)
    for slopes in (None, torch.ones(1)):
        y, _ = attention(
            big, big.neg() * torch.inf, torch.ones(1, 3, 1, 1), form=form, slopes=slopes
        )
        assert bool((y == 0).all())
        y, _ = attention(big, big, big, form=form, slopes=slopes)  # their product is no float32
        torch.testing.assert_close(y, big)
    q, k, v = drawn(5)
    with_none = attention(q, k, v, form=form, sinks=none.double().expand(4))[0]
    torch.testing.assert_close(with_none, attention(q, k, v, form=form)[0], **CLOSE)
    y, _ = attention(q, k, v, form=form, sinks=torch.full((4,), 1e4).double())
    assert bool((y.abs() < 1e-300).all())


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has, and how many products of matrices there are."""

    numbers = products = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        sizes = [t.numel() for t in tree_leaves(found) if isinstance(t, torch.Tensor)]
        self.numbers = max([self.numbers, *sizes])
        self.products += function.overloadpacket.__name__ in ("bmm", "mm")
        return found


def test_chunks_make_no_triangle_and_visit_the_window_alone():
    seen = {}
    for T, window in ((256, None), (256, 20), (512, 20)):
        with Largest() as largest, torch.no_grad():
            attention.chunk(*drawn(T, (1, 1, 1), B=1), size=16, window=window)
        assert largest.numbers <= 16 * T
        seen[T, window] = largest.products
    assert seen[512, 20] < 2.1 * seen[256, 20]
    assert seen[256, 20] < seen[256, None] / 3


@pytest.mark.parametrize("layout", ["plain", "series", "turned", "stepped", "offset"])
@pytest.mark.parametrize("dtype", FLOATING)
def test_fused_takes_any_strides_and_dtype(dtype, layout):
    exact, eps = drawn(300, (2, 1, 1)), torch.finfo(dtype).eps
    given = [laid_out(x.to(dtype), layout) for x in exact]
    for window in (None, 100):
        named = dict(zip("qkv", given, strict=True))
        found, grads = whole(lambda **a: attention.fused(**a, window=window)[0], named)  # noqa: B023
        named = {n: x.to(dtype).double() for n, x in zip("qkv", exact, strict=True)}
        right, wanted = whole(lambda **a: attention.loop(**a, window=window)[0], named)  # noqa: B023
        torch.testing.assert_close(found[0].double(), right[0], rtol=4 * eps, atol=8 * eps)
        for one, other in zip(grads, wanted, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=16 * eps, atol=32 * eps)


@pytest.mark.parametrize("name", ["plain", "window", "all"])
def test_threads_change_nothing(name, monkeypatch):
    given = dict(zip("qkv", (x.float() for x in drawn(300)), strict=True))
    how = {n: x.float() if isinstance(x, torch.Tensor) else x for n, x in options(name).items()}
    before, found = torch.get_num_threads(), []
    for n in (1, 2, 5):
        monkeypatch.setattr(threads, "count", lambda n=n: n)
        torch.set_num_threads(n)
        found.append(whole(lambda **a: attention.fused(**a, **how)[0], given))
    torch.set_num_threads(before)
    for others in found[1:]:
        assert all(map(torch.equal, tree_leaves(found[0]), tree_leaves(others)))


def against_a_past(T, heads, K, V, S, dtype):
    """q, k and v of T positions, and a state of S slots whose rows hold S and S // 2 positions."""
    q, k, v, keys, values = (
        normal(2, n, h, size, seed=i).to(dtype)
        for i, (n, h, size) in enumerate(
            [
                (T, heads[0], K),
                (T, heads[1], K),
                (T, heads[1], V),
                (S, heads[1], K),
                (S, heads[1], V),
            ]
        )
    )
    return (
        q,
        k,
        v,
        attention.loop(q, k, v)[1]._replace(
            keys=keys, values=values, count=torch.tensor([S, S // 2])
        ),
    )


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", FLOATING)
def test_one_query_has_a_kernel(dtype, name, monkeypatch):
    """Whole vectors and others; heads in fours and others; pieces of time; few keys and many."""
    for heads, K, V, S in (((8, 2), 64, 64, 300), ((6, 1), 33, 17, 40), ((2, 2), 32, 64, 260)):
        q, k, v, state = against_a_past(1, heads, K, V, S, dtype)
        how = options(name, heads[0])
        exact = (t.double() for t in (q, k, v))
        double = state._replace(keys=state.keys.double(), values=state.values.double())
        right = attention.loop(*exact, double, **how)[0]
        how = {n: x.to(dtype) if isinstance(x, torch.Tensor) else x for n, x in how.items()}
        found = []
        for n, checked in ((1, True), (1, False), (2, False), (5, False)):
            monkeypatch.setattr(threads, "count", lambda n=n: n)
            monkeypatch.setattr("trilby.kernels.cpu.recurrence.launch.CHECKED", checked)
            monkeypatch.setattr("trilby.kernels.cpu.softmax_attention.one.SMALL", 0)
            found.append(attention.fused(q, k, v, state, **how)[0])
        assert all(torch.equal(y, found[0]) for y in found)
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(found[0].double(), right, rtol=8 * eps, atol=16 * eps)


@pytest.mark.parametrize("name", ["plain", "all"])
def test_second_gradients_of_fused(name):
    q, k, v = (x.requires_grad_() for x in drawn(4, (2, 1, 1), K=2, V=2, B=1))
    how = options(name, 2)
    bias = {n: x.requires_grad_() for n, x in how.items() if isinstance(x, torch.Tensor)}
    rest = {n: x for n, x in how.items() if n not in bias}
    way = lambda q, k, v, *b: attention.fused(q, k, v, **rest, **dict(zip(bias, b, strict=True)))[0]
    assert torch.autograd.gradgradcheck(way, (q, k, v, *bias.values()))


@pytest.mark.parametrize("form", [*FORMS, "weights"])
def test_wrong_input_is_named(form):
    q, k, v = drawn(5)
    _, state = attention(q, k, v)
    longer = state._replace(values=torch.cat([state.values] * 2, 1))
    repeated = state._replace(keys=state.keys.repeat_interleave(2, 2))
    for how, sentence in (
        (dict(window=0), "window is 0, expected a whole number of positions, at least 1"),
        (dict(window=2.5), "window is 2.5, expected a whole number of positions, at least 1"),
        (dict(cap=0.0), "cap is 0.0, expected a number above 0; None is no cap"),
        (dict(scale="1"), "scale is '1', expected a number; give one"),
        (dict(sinks=torch.ones(3).double()), "heads are q 4, k 2, v 2, sinks 3; expected one "
         "number for all, or two of which one divides the other, e.g. q 4, k 2, v 2, sinks 2"),
        (dict(slopes=torch.ones(4)), "slopes is float32 but q is float64; give both one dtype, "
         "e.g. slopes.to(q.dtype)"),
        (dict(state=longer), "values is [2, 10, 2, 6], expected [B S H V] with S=5 (from keys)"),
        (dict(state=repeated), "keys is [2, 5, 4, 6], expected [B S H K] = [2, 5, 2, 6]; give the "
         "state that an earlier call returned"),
    ):  # fmt: skip
        with pytest.raises(TrilbyError) as caught:
            getattr(attention, form)(q, k, v, **how)
        assert str(caught.value) == f"attention.{form}: {sentence}"


def test_a_state_that_grows_does_not_stay_in_one_place():
    q, k, v = drawn(1)
    with pytest.raises(TrilbyError, match=re.escape("attention.advance: the state grows with T")):
        attention.advance(q, k, v, state=attention(q, k, v)[1])
