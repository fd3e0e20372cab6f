"""Kda beside delta; resets and growth of single channels, its triangle, and its errors."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import trilby
from tests.mixers.test_delta_rules import KDA, answers, close, state
from tests.mixers.test_delta_rules import drawn as drawn_of

FORMS = list(trilby.kda.forms)


def drawn(**sizes):
    return drawn_of(KDA, **sizes)


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
