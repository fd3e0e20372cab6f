"""Linear attention beside a triangle in torch and transformers' scan, and its contract."""

import pytest
import torch
from torch.nn.functional import elu, relu

import trilby
from tests.mixers import peers
from tests.mixers.sweep import laid_out
from trilby.kernels.machine import threads
from trilby.mixers.linear import State
from trilby.shapes import FLOATING

FORMS = list(trilby.linear.forms)
CLOSE = dict(rtol=1e-11, atol=1e-11)  # float64: right programs agree to 1e-14 or so
DOCUMENTS = torch.tensor([[0] * 4 + [1] * 2 + [5] * 34, [2] + [3] * 39])
BOTH = pytest.mark.parametrize("normalize", [True, False])


def drawn(T=40, B=2, H=4, K=3, V=5, dtype=torch.float64):
    """q, k, v and the state of three other positions."""
    before = trilby.linear.draw(B=B, T=3, H=H, K=K, V=V, seed=5, dtype=dtype)
    given = trilby.linear.draw(B=B, T=T, H=H, K=K, V=V, dtype=dtype)
    return *given, trilby.linear.loop(*before)[1]


def with_gradients(way, given, state=None):
    """The results, and the gradients of everything, for uneven gradients of the results."""
    leaves = [t.detach().clone().requires_grad_() for t in (*given, *(state or ()))]
    y, after = way(*leaves[:3], State(*leaves[3:]) if state else None)
    out = [y, *after]
    seeds = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) for o in out]
    found = torch.autograd.grad(out, leaves, seeds)
    return *out, *found


def by_triangle(q, k, v, state, normalize):
    """The definition as products of whole matrices, heads shared by copying."""
    H = max(t.shape[2] for t in (q, k, v))
    q, k, v = (t.repeat_interleave(H // t.shape[2], 2).transpose(1, 2) for t in (q, k, v))
    wei = (q @ k.mT).tril()
    y, sums = wei @ v, wei.sum(-1, keepdim=True)
    memory, keys = k.mT @ v, k.sum(2)
    if state is not None:
        y, sums = y + q @ state.memory, sums + q @ state.keys[..., None]
        memory, keys = memory + state.memory, keys + state.keys
    return (y / sums if normalize else y).transpose(1, 2), (memory, keys)


@BOTH
@pytest.mark.parametrize("heads", [(4, 4, 4), (1, 1, 4), (2, 4, 2), (4, 2, 2)])
@pytest.mark.parametrize("form", FORMS)
def test_values_states_and_gradients_are_those_of_the_triangle(form, heads, normalize):
    *given, state = drawn()
    given = [t[:, :, :n] for t, n in zip(given, heads, strict=True)]
    way = lambda *a: trilby.linear(*a, normalize=normalize, form=form)
    for past in (None, state):
        got = with_gradients(way, given, past)
        wanted = with_gradients(lambda *a: by_triangle(*a, normalize), given, past)
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_both_sums_are_scans_of_transformers(form, monkeypatch):
    """Mamba-2 without decay is the memory, and with values of one the normaliser."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # it computes in float32
    scanned = peers.mamba2().mamba2_chunk_scan
    q, k, v, (memory, keys) = drawn()

    def by_transformers(v, start):
        rate, length = v.new_zeros(v.shape[2]), v.new_ones(v.shape[:3])
        given = v, length, rate, k, q, 16
        y, end = scanned(*given, initial_states=start.mT, return_final_states=True)
        return y, end.mT

    read, end = by_transformers(v, memory)
    sums, last = by_transformers(torch.ones_like(v[..., :1]), keys[..., None])
    y, after = trilby.linear(q, k, v, State(memory, keys), form=form)
    torch.testing.assert_close(y, read / sums, **CLOSE)
    torch.testing.assert_close(after.memory, end, **CLOSE)
    torch.testing.assert_close(after.keys, last[..., 0], **CLOSE)
    y, _ = trilby.linear(q, k, v, State(memory, keys), normalize=False, form=form)
    torch.testing.assert_close(y, read, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_a_normaliser_of_zero_gives_zero_and_no_gradient(form):
    """relu leaves nothing of the first two keys, and of the fourth query."""
    *given, _ = drawn(T=6)
    q, k = given[0] - 0.5, given[1] - 0.5
    k[:, :2], q[:, 3] = -1, -1
    q[:, [0, 1, 2, 4, 5]], k[:, 2:] = q[:, [0, 1, 2, 4, 5]].abs(), k[:, 2:].abs()
    q, k, v = (t.requires_grad_() for t in (q, k, given[2]))
    y, _ = trilby.linear(relu(q), relu(k), v, form=form)
    nothing = [0, 1, 3]
    assert bool((y[:, nothing] == 0).all())
    assert bool((y[:, [2, 4, 5]] != 0).all())
    assert all(
        bool(g.isfinite().all()) for g in torch.autograd.grad(y.sum(), (q, k, v), None, True)
    )
    phi = [t.detach().requires_grad_() for t in (relu(q), relu(k), v)]
    y, _ = trilby.linear(*phi, form=form)
    for g in torch.autograd.grad(y[:, nothing].sum(), phi):
        assert bool((g == 0).all())


@pytest.mark.parametrize("form", FORMS)
def test_features_of_either_sign_may_cancel(form):
    q = torch.ones(1, 2, 1, 1)
    k, v = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1), torch.tensor([2.0, 5.0]).view(1, 2, 1, 1)
    assert trilby.linear(q, k, v, form=form)[0].flatten().tolist() == [2, 0]
    assert trilby.linear(q, k, v, normalize=False, form=form)[0].flatten().tolist() == [2, -3]


@pytest.mark.parametrize("form", FORMS)
def test_a_scale_drops_out_where_it_is_normalised_alone(form):
    q, k, v, state = drawn()
    plain, scaled = (trilby.linear(c * q, k, v, state, form=form)[0] for c in (1, 8))
    assert torch.equal(plain, scaled)
    plain, scaled = (
        trilby.linear(c * q, k, v, state, normalize=False, form=form)[0] for c in (1, 8)
    )
    assert torch.equal(8 * plain, scaled)
    g = torch.zeros(2, 40, 4, dtype=torch.float64)
    torch.testing.assert_close(plain, trilby.decay(q, k, v, g, state.memory)[0], **CLOSE)


@BOTH
@pytest.mark.parametrize("form", FORMS)
def test_tokens_one_by_one_and_a_state_of_either_way(form, normalize):
    q, k, v, state = drawn(T=9)
    wanted, end = trilby.linear.loop(q, k, v, state, normalize=normalize)
    y, now = [], state
    for t in range(9):
        one = (x[:, t : t + 1] for x in (q, k, v))
        part, now = trilby.linear(*one, now, normalize=normalize, form=form)
        y.append(part)
    torch.testing.assert_close(torch.cat(y, 1), wanted, **CLOSE)
    torch.testing.assert_close(now, end, **CLOSE)
    other = trilby.linear(q, k, v, state, normalize=not normalize, form=form)[1]
    torch.testing.assert_close(other, end, **CLOSE)  # it always has both sums


@BOTH
@pytest.mark.parametrize("form", [f for f in FORMS if f != "loop"])
def test_documents_and_their_gradients_are_those_of_the_loop(form, normalize):
    *given, state = drawn()
    ways = (getattr(trilby.linear, f) for f in (form, "loop"))
    one, other = (
        with_gradients(lambda *a, w=w: w(*a, DOCUMENTS, normalize=normalize), given, state)
        for w in ways
    )
    for got, wanted in zip(one, other, strict=True):
        torch.testing.assert_close(got, wanted, **CLOSE)


@pytest.mark.parametrize("form", ["loop", "step"])
def test_nan_stays_in_its_document(form):
    q, k, v, _ = drawn(T=9, B=1)
    k[0, 2, 1, 0] = torch.nan
    documents = torch.tensor([[0] * 5 + [1] * 4])
    y, after = trilby.linear(q, k, v, None, documents, form=form)
    assert y.isnan().all(-1).nonzero().tolist() == [[0, t, 1] for t in (2, 3, 4)]
    assert not any(bool(t.isnan().any()) for t in after)


@BOTH
def test_the_triangle_by_hand_and_with_documents(normalize):
    q, k, v, state = drawn(T=6)
    found = trilby.linear.weights(q, k, v, normalize=normalize)
    score = q[0, 5, 1] @ k[0, :, 1].T
    wanted = score[2] / score.sum() if normalize else score[2]
    torch.testing.assert_close(found.wei[0, 1, 5, 2], wanted, **CLOSE)
    packed = DOCUMENTS[:, :6]
    found = trilby.linear.weights(q, k, v, state, packed, normalize=normalize)
    y = trilby.linear(q, k, v, state, packed, normalize=normalize)[0]
    torch.testing.assert_close(found.on(v), y, **CLOSE)
    assert bool((found.wei[0, :, 4:, :4] == 0).all())


@pytest.mark.parametrize("layout", ["series", "turned", "stepped", "offset"])
@pytest.mark.parametrize("dtype", FLOATING)
def test_the_kernel_takes_any_strides_and_dtype(dtype, layout):
    *given, _ = drawn(dtype=dtype)
    wanted, end = trilby.linear.fused(*given)
    y, after = trilby.linear.fused(*(laid_out(t, layout) for t in given))
    assert torch.equal(y, wanted)
    assert all(torch.equal(one, other) for one, other in zip(after, end, strict=True))
    exact = trilby.linear.loop(*(t.double() for t in given))[0]
    assert torch.equal(y, exact.to(dtype)) or dtype == torch.float64
    assert all(t.dtype == torch.float64 for t in after)


def test_threads_change_nothing(monkeypatch):
    *given, state = drawn(T=150, K=16, V=70, dtype=torch.float32)
    found = []
    for n in (1, 2, 5):
        monkeypatch.setattr(threads, "count", lambda n=n: n)
        found.append(with_gradients(trilby.linear.fused, given, state))
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing(form):
    *given, state = drawn(T=9, dtype=torch.float32)
    wanted = trilby.linear(*given, state, form=form)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(trilby.linear(*given, state, form=form)[0], wanted)


@pytest.mark.parametrize("form", [*FORMS, "weights"])
def test_wrong_input_is_named(form):
    q, k, v, (memory, keys) = drawn(T=9)
    for given, sentence in (
        ((q, k[..., :2], v), "k is [2, 9, 4, 2], expected [B T H K] with K=3 (from q)"),
        ((q, k[:, :4], v), "k is [2, 4, 4, 3], expected [B T H K] with T=9 (from q)"),
        ((q, k[:, :, :3], v), "heads are q 4, k 3, v 4; expected one number for all, or two of "
         "which one divides the other, e.g. q 4, k 2, v 4"),
        ((q, k, v, State(memory, keys[..., :2])),
         "keys is [2, 4, 2], expected [B H K] with K=3 (from q)"),
    ):  # fmt: skip
        with pytest.raises(trilby.errors.TrilbyError) as caught:
            getattr(trilby.linear, form)(*given)
        assert str(caught.value) == f"linear.{form}: {sentence}"
    with pytest.raises(trilby.errors.DtypeError, match="normalize is 'yes', expected True or Fal"):
        getattr(trilby.linear, form)(q, k, v, normalize="yes")


def test_the_feature_map_of_the_paper():
    """elu + 1 is never negative, so that each y lies between the values so far."""
    q, k, v, _ = drawn()
    y, _ = trilby.linear(elu(q) + 1, elu(k) + 1, v)
    assert bool((y <= v.cummax(1).values + 1e-12).all())
    assert bool((y >= v.cummin(1).values - 1e-12).all())
