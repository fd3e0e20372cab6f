"""Kda beside transformers and beside delta; resets and growth of single channels, its triangle."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import trilby
from tests.kernels.test_delta_rule import with_gradients
from tests.mixers import peers
from tests.mixers.sweep import laid_out
from tests.mixers.test_delta import answers, close, state, whole
from trilby.shapes import FLOATING
from trilby.verify.precision.allowance import allowances

FORMS = list(trilby.kda.forms)
GROUPS = [(4, 4, 4, 4, 4), (2, 2, 4, 4, 4), (4, 4, 2, 2, 2), (1, 4, 1, 4, 1), (4, 1, 4, 1, 4)]


def drawn(T=13, K=3, V=5, heads=GROUPS[0], dtype=torch.float64):
    """Arguments with beta from 0 to 2."""
    given = list(trilby.kda.draw(B=2, T=T, H=4, K=K, V=V, dtype=dtype))
    given[4] = 2 * given[4]
    return [x[:, :, :n] for x, n in zip(given, heads, strict=True)]


@pytest.fixture
def theirs(monkeypatch):
    """The rule of transformers in float64, with our order of arguments and a copy of each head."""
    module = peers.kimi_linear(monkeypatch)
    named = dict(output_final_state=True, use_qk_l2norm_in_kernel=True)

    def of(name):
        rule = getattr(module, f"{name}_kimi_delta_attention")
        return lambda *given: rule(*map(whole, given[:-1]), initial_state=given[-1], **named)

    return SimpleNamespace(chunk=of("chunk"), recurrent=of("recurrent"), l2norm=module.l2norm)


def raw(T, K=6, V=5):
    """q and k not normalised, 2 heads for 4; gates that forget at once, slowly and never."""
    q, k, v, g, beta = drawn(T, K, V, heads=(2, 2, 4, 4, 4))
    g = g.clone()
    g[:, 1::5, :, :3], g[:, 2::5, :, 1:4], g[:, 3::7, 1:] = -1e3, 0, -50
    beta[:, ::6], beta[:, 1::6] = 0, 1
    return 3 * q, 2 * k, v, g, beta, state(K, V)


def test_values_states_and_gradients_are_those_of_transformers(theirs):
    given = raw(70)  # a chunk and a rest
    recurrent, chunk = (answers(way, given) for way in (theirs.recurrent, theirs.chunk))
    for form in FORMS:

        def ours(q, k, *others, form=form):
            q, k = theirs.l2norm(q) * q.shape[-1] ** -0.5, theirs.l2norm(k)
            return trilby.kda(q, k, *others, form=form)

        found = answers(ours, given)
        close(found, recurrent)
        close(found, chunk)


@pytest.mark.parametrize("T", [1, 3, 4, 5, 63, 64, 65, 128, 130])
def test_borders_of_chunks_beside_transformers(T, theirs):
    q, k, *others = raw(T)
    wanted = theirs.recurrent(q, k, *others)
    given = theirs.l2norm(q) * q.shape[-1] ** -0.5, theirs.l2norm(k), *others
    for form in ("chunk", "fused"):
        close(trilby.kda(*given, form=form), wanted)
    close(trilby.kda.chunk(*given, size=7), wanted)


@pytest.mark.parametrize("heads", GROUPS)
@pytest.mark.parametrize("form", FORMS)
def test_groups_are_heads_that_share(form, heads):
    for T in (0, 1, 9):
        given = drawn(T, heads=heads)
        wanted = trilby.kda.loop(*map(whole, given), state())
        close(trilby.kda(*given, state(), form=form), wanted)


@pytest.mark.parametrize("heads", GROUPS)
@pytest.mark.parametrize("form", FORMS[1:])
def test_gradients_with_groups_and_resets_are_those_of_the_loop(form, heads):
    for T in (5, 66) if form in ("chunk", "fused") else (5,):
        given = [*drawn(T, heads=heads), state()]
        given[3] = given[3].clone()
        given[3][:, T // 2, :, 1:] = -torch.inf
        found, wanted = (answers(trilby.kda.form(way), given) for way in (form, "loop"))
        close(found, wanted)
        assert bool((found[5][:, T // 2, :, 1:] == 0).all())
        assert bool((found[5][:, T // 2, :, 0] != 0).all())


@pytest.mark.parametrize("form", FORMS)
def test_with_equal_gates_it_is_delta(form):
    q, k, v, g, beta = drawn(T=70 if form in ("chunk", "fused") else 9)
    g = g[..., 0].clone()
    g[:, 4] = -torch.inf

    def ours(q, k, v, beta, g, h):
        return trilby.kda(q, k, v, g[..., None].expand(q.shape), beta, h, form=form)

    given = q, k, v, beta, g, state()
    close(answers(ours, given), answers(trilby.delta.loop, given))


@pytest.mark.parametrize("form", FORMS)
def test_beta_of_0_1_and_2(form):
    q, k, v, g, beta = drawn(T=1)
    f = g.exp()[:, 0, :, :, None] * state()
    there = (k[:, 0, :, :, None] * f).sum(2)
    for size in (0.0, 1.0, 2.0):
        y, after = trilby.kda(q, k, v, g, torch.full_like(beta, size), state(), form=form)
        found = (k[:, 0, :, :, None] * after).sum(2)
        close([found], [(1 - size) * there + size * v[:, 0]])  # 2: as far again on the other side
        close([y[:, 0]], [(q[:, 0, :, :, None] * after).sum(2)])


@pytest.mark.parametrize("form", FORMS)
def test_a_reset_forgets_its_channel_exactly(form):
    given = drawn(T=70)
    given[3] = given[3].clone()
    given[3][:, 0, :, 1] = -torch.inf
    before = state()
    y, after = trilby.kda(*given, before, form=form)
    before[:, :, 1] *= 7
    z, also = trilby.kda(*given, before, form=form)
    assert torch.equal(y, z)
    assert torch.equal(after, also)
    before[:, :, 0] *= 7
    assert not torch.equal(y, trilby.kda(*given, before, form=form)[0])


@pytest.mark.parametrize("form", FORMS)
def test_a_reset_of_all_channels_forgets_all(form):
    given = drawn(T=70)
    given[3] = given[3].clone()
    given[3][:, 20] = -torch.inf
    y, after = trilby.kda(*given, state(), form=form)
    other = [torch.cat([0.5 * x[:, :20], x[:, 20:]], 1) for x in given]
    z, also = trilby.kda(*other, 7 * state(), form=form)
    assert torch.equal(y[:, 20:], z[:, 20:])
    assert torch.equal(after, also)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "scan"])
@pytest.mark.parametrize("decay", [-1e-9, -50.0, torch.finfo(torch.float32).min])
def test_strong_decays_of_one_channel_are_exact(form, decay):
    given = list(trilby.kda.draw(B=1, T=300, H=1, K=3, V=2))
    given[3][..., 1:2] = decay
    found, wanted = [], []
    for way, made, dtype in ((form, found, torch.float32), ("loop", wanted, torch.float64)):
        leaves = [x.to(dtype, copy=True) for x in given]
        y, after = trilby.kda(*(x.requires_grad_() for x in leaves), form=way)
        made += [y, after, *torch.autograd.grad(y.sum() + after.sum(), leaves)]
    for one, exact in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), exact, rtol=3e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_no_exp_of_a_sum_that_the_gates_do_not_have(form):
    """Gates of 300 and -300 in turn: no sum of neighbours is above 300, three of 300 are."""
    q, k, v, g, beta = drawn(T=20, K=2)
    g = g.clone()
    g[:, 1::2, :, 0], g[:, 2::2, :, 0], beta[:, 1:] = 300, -300, 0
    y, after = trilby.kda(q, k, v, g, beta, form=form)
    u = beta[:, 0, :, None] * v[:, 0]
    decays = torch.ones(20, dtype=torch.float64)
    decays[1::2] = torch.tensor(300.0, dtype=torch.float64).exp()
    first = (q[..., 0] * k[:, :1, :, 0] * decays[:, None])[..., None] * u[:, None]
    slow = (q[..., 1] * k[:, :1, :, 1] * (g[..., 1].cumsum(1) - g[:, :1, :, 1]).exp())[..., None]
    close([y], [first + slow * u[:, None]], rtol=1e-12, atol=1e-12)
    close([after[:, :, 0]], [decays[-1] * k[:, 0, :, :1] * u])


def test_growing_memories_are_those_of_the_loop():
    q, k, v, g, beta = drawn(T=70, K=4)
    given = q, k, v, -g, 0.1 * beta, state(4)
    wanted = trilby.kda.loop(*given)
    for form in FORMS:
        close(trilby.kda(*given, form=form), wanted, rtol=1e-9, atol=0)


@pytest.mark.parametrize("layout", ["series", "turned", "stepped", "offset"])
@pytest.mark.parametrize("dtype", FLOATING)
def test_the_kernel_takes_any_strides_and_dtype(dtype, layout):
    given = drawn(T=70, K=37, V=33, dtype=dtype)
    before = state(37, 33, torch.float64 if dtype == torch.float64 else torch.float32)
    strided = [laid_out(x, layout) for x in given]
    for T in (70, 1):
        found = trilby.kda.fused(*(x[:, :T] for x in strided), laid_out(before, "turned"))
        wanted = trilby.kda.fused(*(x[:, :T] for x in given), before)
        close(found, wanted, rtol=0, atol=0)
        exact = trilby.kda.loop(*(x[:, :T].double() for x in given), before.double())
        close([found[0].double()], exact[:1], rtol=4 * torch.finfo(dtype).eps, atol=2e-5)


@pytest.mark.parametrize("T", [1, 7, 65])
def test_values_and_gradients_in_float32_are_those_of_the_loop(T):
    """As near as rounding explains; resets, decays of -50 and growth among the gates."""
    given = list(trilby.kda.draw(B=2, T=T, H=4, K=3, V=5))
    given[3][:, 3:4, :, :2], given[3][:, 4:6, :, 1:], given[3][:, 6:8] = -torch.inf, -50, 0.2
    y, after = trilby.kda.loop(*given, torch.randn(2, 4, 3, 5))
    given = *given, after, torch.randn_like(y), torch.randn_like(after)
    got = with_gradients(trilby.kda.fused)(*given)
    pairs = zip(got, allowances(with_gradients(trilby.kda.loop), given, {}), strict=True)
    for one, twin in pairs:
        excess = (one.double() - twin.answer).abs() / twin.allowed(one.dtype)
        assert float(excess.max()) <= 1


@pytest.mark.parametrize("form", FORMS)
def test_the_state_of_halves_is_float32_and_gates_may_be(form):
    for dtype in (torch.bfloat16, torch.float16):
        q, k, v, g, beta = drawn(dtype=dtype)
        y, after = trilby.kda(q, k, v, g, beta, form=form)
        assert (y.dtype, after.dtype) == (dtype, torch.float32)
        assert torch.equal(y, trilby.kda(q, k, v, g.float(), beta.float(), form=form)[0])


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing(form):
    given = drawn(dtype=torch.float32)
    wanted = trilby.kda(*given, form=form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(trilby.kda(*given, form=form), wanted, rtol=0, atol=0)


def test_the_triangle_by_hand():
    q, k, v, g, beta = drawn(T=3)
    a, b = g.exp()[0, :, 0], beta[0, :, 0]
    q1, k1 = q[0, :, 0], k[0, :, 0]
    k10, k20, k21 = a[1] * k1[0], a[1] * a[2] * k1[0], a[2] * k1[1]  # keys as they fade
    wei = torch.zeros(3, 3, dtype=torch.float64)
    wei[0, 0], wei[1, 1], wei[2, 2] = (q1[i] @ k1[i] * b[i] for i in range(3))
    wei[1, 0] = b[0] * (q1[1] @ k10 - q1[1] @ k1[1] * b[1] * (k1[1] @ k10))
    wei[2, 1] = b[1] * (q1[2] @ k21 - q1[2] @ k1[2] * b[2] * (k1[2] @ k21))
    erased = b[1] * (k1[1] @ k10)  # of position 0, by position 1
    kept = q1[2] @ k20 - q1[2] @ k21 * erased
    wei[2, 0] = b[0] * (kept - q1[2] @ k1[2] * b[2] * (k1[2] @ k20 - k1[2] @ k21 * erased))
    found = trilby.kda.weights(q, k, v, g, beta).wei[0, 0]
    close([found], [wei])
    assert not found.triu(1).any()


@pytest.mark.parametrize("heads", GROUPS)
def test_the_weights_say_what_it_does(heads):
    given, before = drawn(T=9, heads=heads), state()
    documents = torch.tensor([[0] * 9, [0, 0, 1, 1, 1, 4, 4, 4, 4]])
    for packed in (None, documents):
        found = trilby.kda.weights(*given, before, packed)
        close([found.on(given[2])], [trilby.kda.loop(*given, before, packed)[0]])


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that is made."""

    numbers = 0

    def __torch_dispatch__(self, function, _types, given=(), named=None):
        out = function(*given, **(named or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor) and x._base is None:
                self.numbers = max(self.numbers, x.numel())
        return out


def test_no_tensor_of_a_chunk_has_every_pair_of_positions_in_every_channel():
    leaves = [x.requires_grad_() for x in trilby.kda.draw(B=1, T=128, H=1, K=48, V=8)]
    with Largest() as seen:
        y, after = trilby.kda.chunk(*leaves)
        torch.autograd.grad(y.sum() + after.sum(), leaves)
    assert 64 * 64 <= seen.numbers <= 2 * 128 * 48  # and [64, 64, 48] has 197,000


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda q, k, v, g, b: (q, k, v, g[..., 0], b),
         "g is [2, 13, 4], expected rank 4 [B T H K]; add the missing axes"),
        (lambda q, k, v, g, b: (q, k, v, g[..., :2], b),
         "g is [2, 13, 4, 2], expected [B T H K] with K=3 (from q)"),
        (lambda q, k, v, g, b: (q, k, v, b, g),
         "g is [2, 13, 4], expected rank 4 [B T H K]; add the missing axes"),
        (lambda q, k, v, g, b: (q, k, v, g[:, :, :3], b),
         "heads are q 4, k 4, v 4, g 3, beta 4; expected one number for all, or two of which one "
         "divides the other, e.g. q 4, k 4, v 4, g 2, beta 4"),
        (lambda q, k, v, g, b: (q, k, v, g.bfloat16(), b),
         "g is bfloat16 but q is float64; give both one dtype, e.g. g.to(q.dtype)"),
        (lambda q, k, v, g, b: (q, k, v, None, b),
         "g is None, expected a tensor [B T H K]; give one"),
        (lambda q, k, v, g, b: (q, k, v, g, b, state()[:, :2]),
         "state is [2, 2, 3, 5], expected [B H K V] = [2, 4, 3, 5]; "
         "give the state that an earlier call returned"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [*FORMS, "weights"])
def test_wrong_input_is_named(form, change, sentence):
    with pytest.raises(trilby.errors.TrilbyError) as caught:
        getattr(trilby.kda, form)(*change(*drawn()))
    assert str(caught.value) == f"kda.{form}: {sentence}"
