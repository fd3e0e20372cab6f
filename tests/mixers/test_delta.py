"""Delta without a gate, in long rows, by hand, and its errors; what holds of kda too is apart."""

import pytest
import torch
from torch.nn.functional import normalize

import trilby
from tests.mixers.test_delta_rules import DELTA, close, state
from tests.mixers.test_delta_rules import drawn as drawn_of
from trilby.bench.proof import compare

FORMS = list(trilby.delta.forms)


def drawn(**sizes):
    return drawn_of(DELTA, **sizes)


@pytest.mark.parametrize("form", FORMS)
def test_without_a_gate_nothing_fades(form):
    q, k, v, beta, g = drawn(T=9)
    wanted = trilby.delta.loop(q, k, v, beta, 0 * g, state())
    close(trilby.delta(q, k, v, beta, state=state(), form=form), wanted)
    documents = torch.tensor([[0] * 9, [0, 0, 1, 1, 1, 4, 4, 4, 4]])
    wanted = trilby.delta.loop(q, k, v, beta, 0 * g, state(), documents)
    close(trilby.delta(q, k, v, beta, None, state(), documents, form=form), wanted)


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
