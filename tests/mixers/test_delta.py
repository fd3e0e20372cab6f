"""Delta beside transformers; groups of heads, beta from 0 to 2, resets, its triangle, errors."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import normalize

import trilby
from tests.mixers import peers
from tests.mixers.sweep import laid_out
from trilby.bench.proof import compare
from trilby.shapes import FLOATING

FORMS = list(trilby.delta.forms)
GROUPS = [(4, 4, 4, 4, 4), (2, 2, 4, 4, 4), (4, 4, 2, 2, 2), (1, 4, 1, 1, 4), (4, 1, 4, 4, 1)]
CLOSE = dict(rtol=1e-11, atol=1e-11)  # float64: right programs agree to 1e-13 or so


def drawn(T=13, K=3, V=5, heads=GROUPS[0], seed=0, dtype=torch.float64):
    """Arguments with beta from 0 to 2."""
    given = list(trilby.delta.draw(B=2, T=T, H=4, K=K, V=V, seed=seed, dtype=dtype))
    given[3] = 2 * given[3]
    return [x[:, :, :n] for x, n in zip(given, heads, strict=True)]


def state(K=3, V=5, dtype=torch.float64):
    return torch.randn(2, 4, K, V, generator=torch.Generator().manual_seed(5), dtype=dtype)


def whole(x):
    """Every head's own copy."""
    return x.repeat_interleave(4 // x.shape[2], 2)


def answers(form, given):
    """y, the state, and the gradients of all arguments for uneven gradients of both."""
    leaves = [x.detach().clone().requires_grad_() for x in given]
    y, after = form(*leaves)
    out = (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum()
    return y, after, *torch.autograd.grad(out + after.sin().sum(), leaves)


def close(got, wanted, **how):
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, **(CLOSE | how))


@pytest.fixture
def theirs(monkeypatch):
    """The delta rule of transformers in float64, with our order of arguments."""
    module = peers.qwen3_next(monkeypatch)
    named = dict(output_final_state=True, use_qk_l2norm_in_kernel=True)

    def of(name):
        rule = getattr(module, f"torch_{name}_gated_delta_rule")
        return lambda q, k, v, beta, g, h: rule(q, k, v, g, beta, initial_state=h, **named)

    return SimpleNamespace(chunk=of("chunk"), recurrent=of("recurrent"), l2norm=module.l2norm)


def raw(T, K=6, V=5):
    """q and k not normalised, 2 heads for 4; gates that forget at once, slowly and never."""
    q, k, v, beta, g = drawn(T, K, V, heads=(2, 2, 4, 4, 4))
    g = g.clone()
    g[:, 1::5], g[:, 2::5], g[:, 3::7] = -1e4, 0, -40
    beta[:, ::6], beta[:, 1::6] = 0, 1
    return 3 * q, 2 * k, v, beta, g, state(K, V)


@pytest.mark.parametrize("form", FORMS)
def test_values_states_and_gradients_are_those_of_transformers(form, theirs):
    def ours(q, k, v, beta, g, h):
        q, k = theirs.l2norm(q) * q.shape[-1] ** -0.5, theirs.l2norm(k)
        return trilby.delta(q, k, v, beta, g, h, form=form)

    given = raw(70)  # a chunk and a rest
    found = answers(ours, given)
    close(found, answers(theirs.recurrent, given))
    close(found, answers(theirs.chunk, given))


@pytest.mark.parametrize("T", [1, 3, 4, 5, 63, 64, 65, 128, 130])
def test_borders_of_chunks_beside_transformers(T, theirs):
    q, k, v, beta, g, h = raw(T)
    wanted = theirs.recurrent(q, k, v, beta, g, h)
    q, k = theirs.l2norm(q) * q.shape[-1] ** -0.5, theirs.l2norm(k)
    for form in ("chunk", "fused"):
        close(trilby.delta(q, k, v, beta, g, h, form=form), wanted)
    close(trilby.delta.chunk(q, k, v, beta, g, h, size=7), wanted)


@pytest.mark.parametrize("heads", GROUPS)
@pytest.mark.parametrize("form", FORMS)
def test_groups_are_heads_that_share(form, heads):
    for T in (0, 1, 9):
        given = drawn(T, heads=heads)
        wanted = trilby.delta.loop(*map(whole, given), state())
        close(trilby.delta(*given, state(), form=form), wanted)


@pytest.mark.parametrize("heads", GROUPS)
@pytest.mark.parametrize("form", FORMS[1:])
def test_gradients_with_groups_and_resets_are_those_of_the_loop(form, heads):
    for T in (5, 66) if form in ("chunk", "fused") else (5,):
        given = [*drawn(T, heads=heads), state()]
        given[4] = given[4].clone()
        given[4][:, T // 2] = -torch.inf
        found, wanted = (answers(trilby.delta.form(way), given) for way in (form, "loop"))
        close(found, wanted)
        assert bool((found[-2][:, T // 2] == 0).all())


@pytest.mark.parametrize("form", FORMS)
def test_beta_of_0_1_and_2(form):
    q, k, v, beta, g = drawn(T=1)
    f = g.exp()[:, 0, :, None, None] * state()
    there = (k[:, 0, :, :, None] * f).sum(2)
    for size in (0.0, 1.0, 2.0):
        y, after = trilby.delta(q, k, v, torch.full_like(beta, size), g, state(), form=form)
        found = (k[:, 0, :, :, None] * after).sum(2)
        close([found], [(1 - size) * there + size * v[:, 0]])  # 2: as far again on the other side
        close([y[:, 0]], [(q[:, 0, :, :, None] * after).sum(2)])
        if not size:
            close([after], [f])


@pytest.mark.parametrize("form", FORMS)
def test_without_a_gate_nothing_fades(form):
    q, k, v, beta, g = drawn(T=9)
    wanted = trilby.delta.loop(q, k, v, beta, 0 * g, state())
    close(trilby.delta(q, k, v, beta, state=state(), form=form), wanted)
    documents = torch.tensor([[0] * 9, [0, 0, 1, 1, 1, 4, 4, 4, 4]])
    wanted = trilby.delta.loop(q, k, v, beta, 0 * g, state(), documents)
    close(trilby.delta(q, k, v, beta, None, state(), documents, form=form), wanted)


@pytest.mark.parametrize("form", FORMS)
def test_a_reset_forgets_exactly(form):
    given = drawn(T=70)
    given[4] = given[4].clone()
    given[4][:, 20] = -torch.inf
    y, after = trilby.delta(*given, state(), form=form)
    other = [torch.cat([0.5 * x[:, :20], x[:, 20:]], 1) for x in given]
    z, also = trilby.delta(*other, 7 * state(), form=form)
    assert torch.equal(y[:, 20:], z[:, 20:])
    assert torch.equal(after, also)
    close([y[:, 20:]], [trilby.delta.loop(*(x[:, 20:] for x in given))[0]])


@pytest.mark.parametrize("form", ["loop", "matrix", "chunk", "step", "fused"])
@pytest.mark.parametrize("decay", [-1e-9, -20.0, torch.finfo(torch.float32).min])
def test_long_rows_have_no_nan_and_nothing_is_clamped(form, decay):
    q, k, v, beta, g = trilby.delta.draw(B=1, T=300, H=1, K=2, V=2)
    g = torch.full_like(g, decay).requires_grad_()
    y, after = trilby.delta(q, k, v, 2 * beta, g, form=form)
    (dg,) = torch.autograd.grad(y.sum() + after.sum(), g)
    assert bool(y.isfinite().all() and after.isfinite().all() and dg.isfinite().all())
    exact = trilby.delta.loop(*(x.detach().double() for x in (q, k, v, 2 * beta, g)))
    close([y.double()], [exact[0]], rtol=0, atol=3e-5)


@pytest.mark.parametrize("gate", [None, -1e-3])
def test_long_memories_keep_their_digits(gate):
    q, k, v, beta, g = trilby.delta.draw(B=1, T=2048, H=1, K=20, V=40)
    given = (q, k, v, beta) if gate is None else (q, k, v, beta, gate * torch.ones_like(g))
    verdict = compare(trilby.delta.chunk, trilby.delta.fused, *given)
    assert verdict, verdict.sentence


@pytest.mark.parametrize("layout", ["series", "turned", "stepped", "offset"])
@pytest.mark.parametrize("dtype", FLOATING)
def test_the_kernel_takes_any_strides_and_dtype(dtype, layout):
    given = drawn(T=70, K=7, V=33, dtype=dtype)
    before = state(7, 33, torch.float64 if dtype == torch.float64 else torch.float32)
    strided = [laid_out(x, layout) for x in given]
    for T in (70, 1):
        found = trilby.delta.fused(*(x[:, :T] for x in strided), laid_out(before, "turned"))
        wanted = trilby.delta.fused(*(x[:, :T] for x in given), before)
        close(found, wanted, rtol=0, atol=0)
        exact = trilby.delta.loop(*(x[:, :T].double() for x in given), before.double())
        close([found[0].double()], exact[:1], rtol=4 * torch.finfo(dtype).eps, atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_state_of_halves_is_float32_and_gates_may_be(form):
    for dtype in (torch.bfloat16, torch.float16):
        q, k, v, beta, g = drawn(dtype=dtype)
        y, after = trilby.delta(q, k, v, beta, g, form=form)
        assert (y.dtype, after.dtype) == (dtype, torch.float32)
        assert torch.equal(y, trilby.delta(q, k, v, beta.float(), g.float(), form=form)[0])


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing(form):
    given = drawn(dtype=torch.float32)
    wanted = trilby.delta(*given, form=form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(trilby.delta(*given, form=form), wanted, rtol=0, atol=0)


def test_the_triangle_by_hand():
    q, k, v, beta, g = drawn(T=3)
    a, b = g.exp()[0, :, 0], beta[0, :, 0]
    s, t = q[0, :, 0] @ k[0, :, 0].T, k[0, :, 0] @ k[0, :, 0].T
    wei = torch.zeros(3, 3, dtype=torch.float64)
    wei[0, 0], wei[1, 1], wei[2, 2] = (s[i, i] * b[i] for i in range(3))
    wei[1, 0] = a[1] * b[0] * (s[1, 0] - s[1, 1] * b[1] * t[1, 0])
    wei[2, 1] = a[2] * b[1] * (s[2, 1] - s[2, 2] * b[2] * t[2, 1])
    kept = s[2, 0] - s[2, 1] * b[1] * t[1, 0]  # of position 0, before position 2 erases
    erased = s[2, 2] * b[2] * (t[2, 0] - t[2, 1] * b[1] * t[1, 0])
    wei[2, 0] = a[1] * a[2] * b[0] * (kept - erased)
    found = trilby.delta.weights(q, k, v, beta, g).wei[0, 0]
    close([found], [wei])
    assert not found.triu(1).any()


@pytest.mark.parametrize("heads", GROUPS)
def test_the_weights_say_what_it_does(heads):
    given, before = drawn(T=9, heads=heads), state()
    documents = torch.tensor([[0] * 9, [0, 0, 1, 1, 1, 4, 4, 4, 4]])
    for packed in (None, documents):
        found = trilby.delta.weights(*given, before, packed)
        close([found.on(given[2])], [trilby.delta.loop(*given, before, packed)[0]])


def test_keys_of_length_1_hold_what_was_written_last():
    """A dictionary: with beta = 1 a key gives back the last value that was stored under it."""
    keys = torch.eye(3, dtype=torch.float64)[torch.tensor([0, 1, 0, 2, 1, 0])][None, :, None]
    v = torch.arange(6.0, dtype=torch.float64).view(1, 6, 1, 1)
    one = torch.ones(1, 6, 1, dtype=torch.float64)
    for form in FORMS:
        y, after = trilby.delta(keys, normalize(keys, dim=-1), v, one, form=form)
        close([y.flatten(), after.flatten()], [v.flatten(), v.new_tensor([5.0, 4.0, 3.0])])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda q, k, v, b, g: (q, k[:, :, :3], v, b, g),
         "heads are q 4, k 3, v 4, beta 4, g 4; expected one number for all, or two of which one "
         "divides the other, e.g. q 4, k 2, v 4, beta 4, g 4"),
        (lambda q, k, v, b, _: (q, k[:, :, :3], v, b),
         "heads are q 4, k 3, v 4, beta 4; expected one number for all, or two of which one "
         "divides the other, e.g. q 4, k 2, v 4, beta 4"),
        (lambda q, k, v, b, g: (q, k[..., :2], v, b, g),
         "k is [2, 13, 4, 2], expected [B T H K] with K=3 (from q)"),
        (lambda q, k, v, b, g: (q, k, v, b[:, :5], g),
         "beta is [2, 5, 4], expected [B T H] with T=13 (from q)"),
        (lambda q, k, v, b, g: (q, k, v, b[..., None].expand(2, 13, 4, 5), g),
         "beta is [2, 13, 4, 5], expected rank 3 [B T H]; index or merge the extra axes"),
        (lambda q, k, v, b, g: (q, k, v, b, g.bfloat16()),
         "g is bfloat16 but q is float64; give both one dtype, e.g. g.to(q.dtype)"),
        (lambda q, k, v, _, g: (q, k, v, None, g),
         "beta is None, expected a tensor [B T H]; give one"),
        (lambda q, k, v, b, g: (q, k, v, b, g, state()[:, :2]),
         "state is [2, 2, 3, 5], expected [B H K V] = [2, 4, 3, 5]; "
         "give the state that an earlier call returned"),
        (lambda q, k, v, b, g: (q, k, v, b, g, state().float()),
         "state is float32, expected float64; convert it, e.g. state.to(torch.float64)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [*FORMS, "weights"])
def test_wrong_input_is_named(form, change, sentence):
    with pytest.raises(trilby.errors.TrilbyError) as caught:
        getattr(trilby.delta, form)(*change(*drawn()))
    assert str(caught.value) == f"delta.{form}: {sentence}"
