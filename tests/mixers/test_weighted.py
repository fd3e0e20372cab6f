"""The weighted mean beside RWKV's WKV and attention, and what its contract says to the letter."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

import trilby

FORMS = list(trilby.weighted.forms)
CLOSE = dict(rtol=1e-11, atol=1e-11)  # float64: right programs agree to 1e-14 or so
DOCUMENTS = torch.tensor([[0] * 4 + [1] * 2 + [5] * 34, [2] + [3] * 39])
INF, LEAST = torch.inf, torch.finfo(torch.float32).min


def drawn(T=40, C=4, G=4, B=2, dtype=torch.float64):
    """x [B, T, C], s [B, T, G] and the state of three other positions."""
    x, s = trilby.weighted.draw(B=B, T=T, C=C, dtype=dtype)
    before = trilby.weighted.draw(B=B, T=3, C=C, seed=5, dtype=dtype)
    return x, s[:, :, :G], trilby.weighted.loop(*before)[1]


def by_rwkv(x, s, state):
    """transformers' WKV, whose decay is exp(-exp(time_decay)); state: (total, weight, peak)."""
    from transformers.models.rwkv.modeling_rwkv import rwkv_linear_attention_cpu

    C = x.shape[2]
    none, total = x.new_full((C,), -INF), [state.total, state.weight, state.peak]
    y, (total, weight, peak) = rwkv_linear_attention_cpu(none, x.new_zeros(C), s, x, total)
    return y, (peak, total, weight)


def with_gradients(way, given, state=None):
    """The results, and the gradients of everything, for uneven gradients of the results."""
    leaves = [t.detach().clone().requires_grad_() for t in (*given, *(state or ()))]
    state = trilby.mixers.weighted.State(*leaves[2:]) if state else None
    y, after = way(*leaves[:2], state)
    out = [y, *after]
    seeds = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) for o in out]
    return *out, *torch.autograd.grad(out, leaves, seeds)


@pytest.mark.parametrize("form", FORMS)
def test_values_states_and_gradients_are_those_of_rwkv(form, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # it computes in float32
    x, s, state = drawn()
    got = with_gradients(lambda *a: trilby.weighted(*a, form=form), (x, s), state)
    for one, other in zip(got, with_gradients(by_rwkv, (x, s), state), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_attention_with_a_query_that_never_changes(form):
    x, k, _ = drawn(G=3)
    q = torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64)

    def by_torch(x, k):
        query = q.expand(2, 1, 40, 3)
        y = scaled_dot_product_attention(query, k[:, None], x[:, None], is_causal=True, scale=1)
        return y[:, 0]

    found = []
    for way in (by_torch, lambda x, k: trilby.weighted(x, (k * q).sum(-1, True), form=form)[0]):
        leaves = [t.clone().requires_grad_() for t in (x, k)]
        y = way(*leaves)
        found.append((y, *torch.autograd.grad((y * torch.linspace(-1, 2, 4).to(y)).sum(), leaves)))
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, **CLOSE)


@pytest.mark.parametrize("pieces", [(8,), (1,) * 8, (3, 5)])
@pytest.mark.parametrize("form", FORMS)
def test_every_score_is_exact(form, pieces):
    """By hand: what is 1e4 below another does not count, and what is equal counts alike."""
    scores = {
        (-INF, -INF, -1e4, -1e4, 1e4, -INF, 1e4, 0.0): (0, 0, 3, 3.5, 5, 5, 6, 6),
        (LEAST, LEAST, LEAST, LEAST, -INF, LEAST, -1e30, 1e30): (1, 1.5, 2, 2.5, 2.5, 3.2, 7, 8),
        (-1e4, -1e4, -1e4, 1e4, 1e4, 1e4, 1e4, 1e4): (1, 1.5, 2, 4, 4.5, 5, 5.5, 6),
        (-INF,) * 8: (0,) * 8,
    }
    x = torch.arange(1.0, 9.0)[None, :, None].requires_grad_()
    for given, wanted in scores.items():
        s, state, y = torch.tensor(given)[None, :, None].requires_grad_(), None, []
        for x_, s_ in zip(x.split(pieces, 1), s.split(pieces, 1), strict=True):
            part, state = trilby.weighted(x_, s_, state, form=form)
            y.append(part)
        y = torch.cat(y, 1)
        torch.testing.assert_close(y[0, :, 0], torch.tensor(wanted).float(), rtol=1e-6, atol=0)
        for g in torch.autograd.grad([y.sum(), *(t.sum() for t in state)], (x, s)):
            assert bool(g.isfinite().all())
        assert all(bool(t.isfinite().all()) for t in state)


@pytest.mark.parametrize("form", FORMS)
def test_where_nothing_counts_gradients_are_zero(form):
    x, s, _ = drawn(T=5)
    s[:, :3] = -INF
    x, s = x.requires_grad_(), s.requires_grad_()
    y, _ = trilby.weighted(x, s, form=form)
    assert bool((y[:, :3] == 0).all())
    dx, ds = torch.autograd.grad(y.sum(), (x, s))
    assert bool((dx[:, :3] == 0).all())
    assert bool((ds[:, :3] == 0).all())
    assert bool((dx[:, 3:] != 0).all())


class Exponents(TorchDispatchMode):
    """Fails where `exp` is taken of a positive number."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.exp.default:
            assert float(args[0].max()) <= 0
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("form", [f for f in FORMS if f != "fused"])
def test_no_exponential_of_a_positive_number(form):
    x, s, state = drawn(T=20)
    with Exponents():
        trilby.weighted(x, 300 * s, state, DOCUMENTS[:, :20], form=form)


@pytest.mark.parametrize("form", FORMS)
def test_equal_scores_are_the_mean_and_a_shift_changes_nothing(form):
    x, s, _ = drawn()
    y, state = trilby.weighted(x, 0 * s - 7, form=form)
    torch.testing.assert_close(y, trilby.mean(x)[0], **CLOSE)
    torch.testing.assert_close(state.weight, torch.full_like(state.weight, 40))
    moved = s + 4096  # and exactly back
    y = trilby.weighted(x, moved, form=form)[0]
    assert torch.equal(y, trilby.weighted(x, moved - 4096, form=form)[0])


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize(("C", "G"), [(4, 1), (4, 2), (1, 4), (2, 4), (0, 0)])
@pytest.mark.parametrize("form", FORMS)
def test_channels_that_share(form, C, G, state):
    """One of x and s has fewer channels; gradients add up over those that share."""
    x, s, before = drawn()
    given = (x[:, :, :C], s[:, :, :G])
    past = trilby.mixers.weighted.State(*(t[:, : max(C, G)] for t in before)) if state else None
    each = max(C, G) // max(C, 1), max(C, G) // max(G, 1)

    def whole(x, s, state):
        x, s = (t.repeat_interleave(n, 2) for t, n in zip((x, s), each, strict=True))
        return trilby.weighted.loop(x, s, state)

    got = with_gradients(lambda *a: trilby.weighted(*a, form=form), given, past)
    for one, other in zip(got, with_gradients(whole, given, past), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
    wei = trilby.weighted.weights(*given, past)
    torch.testing.assert_close(wei.on(given[0]), got[0], **CLOSE)


@pytest.mark.parametrize("form", [f for f in FORMS if f != "loop"])
def test_documents_and_their_gradients_are_those_of_the_loop(form):
    x, s, state = drawn()
    x[0, 4], s[1, :3] = 0, -INF
    ways = (getattr(trilby.weighted, f) for f in (form, "loop"))
    found = [with_gradients(lambda *a, w=w: w(*a, DOCUMENTS), (x, s), state) for w in ways]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_of_equal_largest_scores_the_peak_is_the_earlier(form):
    one = torch.ones(1, 3, 1, dtype=torch.float64)
    s = one.clone().requires_grad_()
    _, state = trilby.weighted(one, s, form=form)
    assert torch.autograd.grad(state.peak.sum(), s)[0].flatten().tolist() == [1, 0, 0]
    s, past = one.clone().requires_grad_(), [t.detach().requires_grad_() for t in state]
    _, after = trilby.weighted(one, s, trilby.mixers.weighted.State(*past), form=form)
    found = torch.autograd.grad(after.peak.sum(), (s, past[0]))
    assert [g.flatten().tolist() for g in found] == [[0, 0, 0], [1]]


@pytest.mark.parametrize("form", [f for f in ("loop", "scan", "step", "fused") if f in FORMS])
def test_nan_stays_in_its_document(form):
    for i in (0, 1):
        given = [t[:1, :9].clone() for t in drawn()[:2]]
        given[i][0, 2, 1] = torch.nan
        documents = torch.tensor([[0] * 5 + [1] * 4])
        y, after = trilby.weighted(*given, None, documents, form=form)
        assert y.isnan().nonzero().tolist() == [[0, t, 1] for t in (2, 3, 4)]
        assert not any(bool(t.isnan().any()) for t in after)


@pytest.mark.parametrize("form", ["loop", "step", "fused"])
def test_and_so_does_that_of_its_gradient(form):
    x, s = (t[:1, :9].clone() for t in drawn()[:2])
    x[0, 6, 1], s[0, 5, 1] = torch.nan, -INF
    leaves = [t.requires_grad_() for t in (x, s)]
    y, _ = trilby.weighted(*leaves, None, torch.tensor([[0] * 5 + [1] * 4]), form=form)
    for g in torch.autograd.grad(y.sum(), leaves):
        assert bool(g[:, :5].isfinite().all())


def test_the_triangle_is_the_softmax_of_what_came_before():
    x, s, state = drawn(T=6)
    found = trilby.weighted.weights(x, s)
    torch.testing.assert_close(found.wei[1, 2, 4, :5], s[1, :5, 2].softmax(0), **CLOSE)
    s[1, :2] = -INF
    packed = DOCUMENTS[:, :6]
    found = trilby.weighted.weights(x, s, state, packed)
    torch.testing.assert_close(found.on(x), trilby.weighted(x, s, state, packed)[0], **CLOSE)
    assert bool((found.wei[0, :, 4:, :4] == 0).all())
    assert bool((found.wei[1, :, 1] == 0).all())


@pytest.mark.parametrize("form", [*FORMS, "weights"])
def test_wrong_input_is_named(form):
    x, s, (peak, total, weight) = drawn(T=9)
    State = trilby.mixers.weighted.State
    for given, sentence in (
        ((x, s[:, :, :3]), "channels are x 4, s 3; expected one number for all, or two of which "
         "one divides the other, e.g. x 4, s 2"),
        ((x, s[:, :4]), "s is [2, 4, 4], expected [B T C] with T=9 (from x)"),
        ((x, s, State(peak, total, -weight)), f"weight is {float(-weight.max()):g}, but weights "
         "are added up from 0; give the state that an earlier call returned"),
        ((x, s, State(peak, total, 0 * weight)), "total is not 0 where weight is 0; start from "
         "state=None"),
    ):  # fmt: skip
        with pytest.raises(trilby.errors.TrilbyError) as caught:
            getattr(trilby.weighted, form)(*given)
        assert str(caught.value) == f"weighted.{form}: {sentence}"
