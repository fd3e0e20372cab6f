"""Decay: heads in groups, resets, long rows, documents, its triangle, and what its kernel takes."""

import pytest
import torch

import trilby
from tests.mixers.sweep import laid_out
from trilby.shapes import FLOATING

FORMS = list(trilby.decay.forms)
OTHERS = FORMS[1:]
GROUPS = [(4, 4, 4, 4), (2, 2, 4, 4), (4, 2, 2, 4), (1, 1, 4, 4), (4, 4, 4, 1), (1, 4, 1, 1)]
LENGTHS = [0, 1, 3, 4, 5, 63, 64, 65, 127, 128, 129, 130]


def drawn(T=13, K=3, V=5, heads=(4, 4, 4, 4), seed=0, dtype=torch.float64):
    given = trilby.decay.draw(B=2, T=T, H=4, K=K, V=V, seed=seed, dtype=dtype)
    return [x[:, :, :n] for x, n in zip(given, heads, strict=True)]


def state(K=3, V=5, dtype=torch.float64):
    return torch.randn(2, 4, K, V, generator=torch.Generator().manual_seed(5), dtype=dtype)


def whole(x):
    """Every head's own copy."""
    return x.repeat_interleave(4 // x.shape[2], 2)


def close(got, wanted, **how):
    torch.testing.assert_close(got, wanted, **({"rtol": 1e-11, "atol": 1e-11} | how))


@pytest.mark.parametrize("heads", GROUPS)
@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("form", FORMS)
def test_groups_are_heads_that_share(form, T, heads):
    for K, V in ((3, 5), (16, 32)) if T < 64 else ((3, 5),):
        given, before = drawn(T, K, V, heads), state(K, V)
        wanted = trilby.decay.loop(*map(whole, given), before)
        close(trilby.decay(*given, before, form=form), wanted)


def test_an_expanded_head_is_not_copied_by_its_own_group():
    q, k, v, g = drawn(T=70, heads=(1, 1, 4, 4))
    y, _ = trilby.decay(q, k, v, g)
    close(y, trilby.decay(q.expand(2, 70, 4, 3), k.expand(2, 70, 4, 3), v, g)[0])


@pytest.mark.parametrize("T", [1, 3, 4, 5, 130])
@pytest.mark.parametrize("heads", [GROUPS[0], *GROUPS[2:]])
@pytest.mark.parametrize("form", OTHERS)
def test_gradients_with_groups_and_resets_are_those_of_the_loop(form, heads, T):
    given = [*drawn(T, heads=heads), state()]
    given[3] = given[3].clone()
    given[3][:, T // 2] = -torch.inf
    found = []
    for way in (form, "loop"):
        leaves = [x.detach().clone().requires_grad_() for x in given]
        y, after = trilby.decay(*leaves, form=way)
        out = (y * torch.linspace(-1, 2, y.numel()).view(y.shape)).sum() + after.sin().sum()
        found.append(torch.autograd.grad(out, leaves))
        assert all(bool(x.isfinite().all()) for x in found[-1])
        assert bool((found[-1][3][:, T // 2] == 0).all())
    for got, wanted in zip(*found, strict=True):
        close(got, wanted)


@pytest.mark.parametrize("layout", ["series", "turned", "stepped", "offset"])
@pytest.mark.parametrize("dtype", FLOATING)
def test_the_kernel_takes_any_strides_and_dtype(dtype, layout):
    given = drawn(T=70, K=7, V=33, dtype=dtype)
    after = state(7, 33, torch.float64 if dtype == torch.float64 else torch.float32)
    strided = [laid_out(x, layout) for x in given]
    found, wanted = trilby.decay.fused(*strided, after), trilby.decay.fused(*given, after)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])
    exact = trilby.decay.loop(*(x.double() for x in given), after.double())
    close(found[0].double(), exact[0], rtol=4 * torch.finfo(dtype).eps, atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_reset_forgets_exactly(form):
    given = drawn(T=70)
    given[3][:, 20] = -torch.inf
    y, after = trilby.decay(*given, state(), form=form)
    other = [torch.cat([3 * x[:, :20], x[:, 20:]], 1) for x in given]
    z, also = trilby.decay(*other, 7 * state(), form=form)
    assert torch.equal(y[:, 20:], z[:, 20:])
    assert torch.equal(after, also)
    close(y[:, 20:], trilby.decay.loop(*(x[:, 20:] for x in given))[0])


@pytest.mark.parametrize("form", ["loop", "matrix", "chunk", "step", "fused", "scan"])
@pytest.mark.parametrize("decay", [-1e-9, -0.7, -20.0, -1e4, torch.finfo(torch.float32).min])
def test_long_rows_have_no_nan(form, decay):
    q, k, v, g = trilby.decay.draw(B=1, T=1500, H=1, K=2, V=2)
    g = torch.full_like(g, decay).requires_grad_()
    y, after = trilby.decay(q, k, v, g, form=form)
    (dg,) = torch.autograd.grad(y.sum() + after.sum(), g)
    assert bool(y.isfinite().all() and after.isfinite().all() and dg.isfinite().all())


def test_growth_is_allowed_and_not_clamped():
    one = torch.ones(1, 3, 1, 1, dtype=torch.float64)
    grow = torch.full((1, 3, 1), 2.0, dtype=torch.float64).log()
    for form in FORMS:
        close(trilby.decay(one, one, one, grow, form=form)[0].flatten(), grow.new([1, 3, 7]))


@pytest.mark.parametrize("form", FORMS)
def test_the_state_of_halves_is_float32_and_gates_may_be(form):
    for dtype in (torch.bfloat16, torch.float16):
        q, k, v, g = drawn(dtype=dtype)
        y, after = trilby.decay(q, k, v, g, form=form)
        assert (y.dtype, after.dtype) == (dtype, torch.float32)
        assert torch.equal(y, trilby.decay(q, k, v, g.float(), form=form)[0])


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing(form):
    given = drawn(dtype=torch.float32)
    wanted = trilby.decay(*given, form=form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = trilby.decay(*given, form=form)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])


def test_the_triangle_by_hand():
    q, k, v, g = drawn(T=3, dtype=torch.float64)
    a = g.exp()[0, :, 0]
    score = q[0, :, 0] @ k[0, :, 0].T
    wei = torch.tensor([
        [score[0, 0], 0, 0],
        [score[1, 0] * a[1], score[1, 1], 0],
        [score[2, 0] * a[1] * a[2], score[2, 1] * a[2], score[2, 2]],
    ], dtype=torch.float64)  # fmt: skip
    found = trilby.decay.weights(q, k, v, g)
    close(found.wei[0, 0], wei)
    for form in FORMS:
        close(trilby.decay(q, k, v, g, form=form)[0][0, :, 0], wei @ v[0, :, 0])


@pytest.mark.parametrize("heads", GROUPS)
def test_the_weights_say_what_it_does(heads):
    given, before = drawn(T=9, heads=heads), state()
    documents = torch.tensor([[0] * 9, [0, 0, 1, 1, 1, 4, 4, 4, 4]])
    for packed in (None, documents):
        found = trilby.decay.weights(*given, before, packed)
        y = torch.einsum("bhts,bshv->bthv", found.wei, whole(given[2])) + found.carried
        close(y, trilby.decay.loop(*given, before, packed)[0])
        close(found.on(given[2]), y)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda q, k, v, g: (q, k[:, :, :3], v, g),
         "heads are q 4, k 3, v 4, g 4; expected one number for all, or two of which one divides "
         "the other, e.g. q 4, k 2, v 4, g 4"),
        (lambda q, k, v, g: (q, k[..., :2], v, g),
         "k is [2, 13, 4, 2], expected [B T H K] with K=3 (from q)"),
        (lambda q, k, v, g: (q, k, v[:, :5], g),
         "v is [2, 5, 4, 5], expected [B T H V] with T=13 (from q)"),
        (lambda q, k, v, g: (q, k, v.float(), g),
         "v is float32 but q is float64; give both one dtype, e.g. v.to(q.dtype)"),
        (lambda q, k, v, g: (q, k, v, g.bfloat16()),
         "g is bfloat16 but q is float64; give both one dtype, e.g. g.to(q.dtype)"),
        (lambda q, k, v, g: (q, k, v, g[..., None]),
         "g is [2, 13, 4, 1], expected rank 3 [B T H]; index or merge the extra axes"),
        (lambda q, k, v, g: (q, k, v, g, state()[:, :2]),
         "state is [2, 2, 3, 5], expected [B H K V] = [2, 4, 3, 5]; "
         "give the state that an earlier call returned"),
        (lambda q, k, v, g: (q, k, v, g, state().float()),
         "state is float32, expected float64; convert it, e.g. state.to(torch.float64)"),
        (lambda q, k, v, g: (q, k, v, g, (state(),)),
         "state is a tuple of 1, expected a tensor [B H K V]; "
         "convert it first, e.g. torch.as_tensor(state)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [*FORMS, "weights"])
def test_wrong_input_is_named(form, change, sentence):
    with pytest.raises(trilby.errors.TrilbyError) as caught:
        getattr(trilby.decay, form)(*change(*drawn()))
    assert str(caught.value) == f"decay.{form}: {sentence}"
