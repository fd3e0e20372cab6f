"""The selective scan beside transformers' Mamba, and what its contract says to the letter."""

import pytest
import torch

import trilby
from tests.mixers.sweep import laid_out
from trilby.kernels.cpu.selective_scan import launch
from trilby.kernels.machine import threads
from trilby.shapes import FLOATING

FORMS = list(trilby.selective.forms)
CLOSE = dict(rtol=1e-10, atol=1e-10)  # float64: right programs agree to 1e-13 or so
DOCUMENTS = torch.tensor([[0] * 4 + [1] * 2 + [5] * 34, [2] + [3] * 39])


def drawn(T=40, C=5, N=3, B=2, dtype=torch.float64):
    """x, dt, A, B, C, D and a state."""
    given = trilby.selective.draw(B=B, T=T, C=C, N=N, dtype=dtype)
    rng = torch.Generator().manual_seed(7)
    kept = torch.float64 if dtype == torch.float64 else torch.float32
    return *given, torch.randn(B, C, N, generator=rng, dtype=torch.float64).to(kept)


def by_transformers(x, dt, A, B, C, D):
    """Their function has time last, and no state before the first position."""
    from transformers.models.mamba.modeling_mamba import mamba_selective_scan

    given = x.mT, dt.mT, A, B.mT, C.mT, D
    y, state = mamba_selective_scan(*given, return_last_state=True)
    return y.mT, state


def one_by_one(x, dt, A, B, C, D, state):
    """Their step of a decoder, which has a state and writes into it."""
    from transformers.models.mamba.modeling_mamba import mamba_selective_state_update

    kept, y = state.clone(), []
    for t in range(x.shape[1]):
        y.append(mamba_selective_state_update(kept, x[:, t], dt[:, t], A, B[:, t], C[:, t], D))
    return torch.stack(y, 1), kept


def with_gradients(way, given):
    """The results, and the gradients of every argument for uneven gradients of the results."""
    leaves = [t.detach().clone().requires_grad_() for t in given]
    out = way(*leaves)
    seeds = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) for o in out]
    return *out, *torch.autograd.grad(out, leaves, seeds)


@pytest.fixture
def _in_float64(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # they compute in float32


@pytest.mark.usefixtures("_in_float64")
@pytest.mark.parametrize("strength", [1.0, 200.0])  # decays down to exp(-1000)
@pytest.mark.parametrize("form", FORMS)
def test_values_states_and_gradients_are_those_of_transformers(form, strength):
    given = list(drawn()[:6])
    given[2] = strength * given[2]
    got = with_gradients(lambda *a: trilby.selective(*a, form=form), given)
    wanted = with_gradients(by_transformers, given)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.usefixtures("_in_float64")
@pytest.mark.parametrize("form", FORMS)
def test_a_state_that_came_before_is_that_of_transformers(form):
    given = drawn(T=9)
    with torch.no_grad():
        wanted = one_by_one(*given)
    torch.testing.assert_close(trilby.selective(*given, form=form), wanted, **CLOSE)
    state, y = given[6], []
    for t in range(9):  # tokens one by one
        now = [s[:, t : t + 1] for s in (*given[:2], *given[3:5])]
        part, state = trilby.selective(*now[:2], given[2], *now[2:], given[5], state, form=form)
        y.append(part)
    torch.testing.assert_close((torch.cat(y, 1), state), wanted, **CLOSE)


@pytest.mark.parametrize(("T", "C", "N"), [(1, 3, 2), (16, 64, 1), (17, 65, 4), (40, 5, 16)])
@pytest.mark.parametrize("packed", [False, True])
def test_the_kernel_and_its_gradients_are_those_of_the_loop(T, C, N, packed):
    given = drawn(T, C, N)
    documents = DOCUMENTS[:, :T] if packed else None
    got = with_gradients(lambda *a: trilby.selective.fused(*a, documents), given)
    wanted = with_gradients(lambda *a: trilby.selective.loop(*a, documents), given)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("form", [f for f in FORMS if f not in ("loop", "fused")])
def test_documents_and_their_gradients_are_those_of_the_loop(form):
    given = drawn()
    got = with_gradients(lambda *a: trilby.selective(*a, DOCUMENTS, form=form), given)
    wanted = with_gradients(lambda *a: trilby.selective.loop(*a, DOCUMENTS), given)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_an_infinite_rate_forgets_and_no_time_leaves_the_memory(form):
    x, dt, A, B, C, D, state = drawn(T=5)
    y, after = trilby.selective(x, dt, torch.full_like(A, -torch.inf), B, C, D, state, form=form)
    alone = (dt * x) * (B * C).sum(-1, keepdim=True) + D * x
    torch.testing.assert_close(y, alone, **CLOSE)
    assert bool(after.isfinite().all())
    y, after = trilby.selective(x, 0 * dt, A, B, C, None, state, form=form)
    torch.testing.assert_close(after, state)
    torch.testing.assert_close(y, torch.einsum("btn,bcn->btc", C, state), **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_growth_is_allowed_and_not_clamped(form):
    one = torch.ones(1, 4, 1, dtype=torch.float64)
    A = torch.tensor([[2.0]], dtype=torch.float64).log()
    y, _ = trilby.selective(one, one, A, one, one, form=form)
    torch.testing.assert_close(y.flatten(), one.new_tensor([1, 3, 7, 15]), **CLOSE)


@pytest.mark.parametrize("form", ["loop", "step", "fused"])
def test_nan_stays_in_its_document(form):
    x, dt, A, B, C, D, _ = drawn(T=9, B=1)
    x[0, 2, 1] = torch.nan
    documents = torch.tensor([[0] * 5 + [1] * 4])
    y, after = trilby.selective(x, dt, A, B, C, D, None, documents, form=form)
    assert y.isnan().nonzero().tolist() == [[0, t, 1] for t in (2, 3, 4)]
    assert not bool(after.isnan().any())


def test_the_triangle_by_hand_and_with_documents():
    x, dt, A, B, C, D, state = drawn(T=6)
    found = trilby.selective.weights(x, dt, A, B, C, D)
    score = (C[0, 5] * B[0, 2] * (dt[0, 3:6, 1].sum() * A[1]).exp()).sum() * dt[0, 2, 1]
    torch.testing.assert_close(found.wei[0, 1, 5, 2], score, **CLOSE)
    torch.testing.assert_close(
        found.wei[0, 1, 3, 3], (C[0, 3] * B[0, 3]).sum() * dt[0, 3, 1] + D[1], **CLOSE
    )
    packed = DOCUMENTS[:, :6]
    found = trilby.selective.weights(x, dt, A, B, C, D, state, packed)
    y = trilby.selective(x, dt, A, B, C, D, state, packed)[0]
    torch.testing.assert_close(found.on(x), y, **CLOSE)
    assert bool((found.wei[0, :, 4:, :4] == 0).all())


@pytest.mark.parametrize("layout", ["series", "turned", "stepped", "offset"])
@pytest.mark.parametrize("dtype", FLOATING)
def test_the_kernel_takes_any_strides_and_dtype(dtype, layout):
    given = drawn(C=37, dtype=dtype)
    wanted = with_gradients(trilby.selective.fused, given)
    strided = [laid_out(t, layout) if t.ndim == 3 else t for t in given]
    leaves = [t.detach().requires_grad_() for t in strided]
    out = trilby.selective.fused(*leaves)
    seeds = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) for o in out]
    for got, right in zip((*out, *torch.autograd.grad(out, leaves, seeds)), wanted, strict=True):
        assert torch.equal(got, right)
    exact = trilby.selective.loop(*(t.double() for t in given))[0]
    torch.testing.assert_close(out[0].double(), exact, rtol=4 * torch.finfo(dtype).eps, atol=2e-5)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("B", "C"), [(5, 40), (1, 200)])  # threads share rows, or channels
def test_threads_change_nothing(B, C, packed, monkeypatch):
    given = drawn(T=50, C=C, B=B, dtype=torch.float32)
    documents = (torch.arange(50) // 17).expand(B, 50) if packed else None
    found = []
    for n in (1, 2, 5):
        monkeypatch.setattr(threads, "count", lambda n=n: n)
        for _ in range(2):
            found.append(with_gradients(lambda *a: trilby.selective.fused(*a, documents), given))
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing_and_parameters_may_be_wide(form):
    given = drawn(T=9, dtype=torch.float32)
    wanted = trilby.selective(*given, form=form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(trilby.selective(*given, form=form)[0], wanted[0])
    x, dt, A, B, C, D, state = drawn(T=9, dtype=torch.bfloat16)
    y, after = trilby.selective(x, dt.float(), A.float(), B, C, D.float(), state, form=form)
    assert (y.dtype, after.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(y, trilby.selective(x, dt, A, B, C, D, state, form=form)[0])


@pytest.mark.parametrize("form", [*FORMS, "weights"])
def test_wrong_input_is_named(form):
    x, dt, A, B, C, D, state = drawn(T=9)
    for given, sentence in (
        ((x, dt[:, :, :2], A, B, C), "dt is [2, 9, 2], expected [B T C] with C=5 (from x)"),
        ((x, dt, A, B[:, :, :2], C), "B is [2, 9, 2], expected [B T N] with N=3 (from A)"),
        ((x, dt, A, B, C[:, :4]), "C is [2, 4, 3], expected [B T N] with T=9 (from x)"),
        ((x, dt, A, B, C, D[:2]), "D is [2], expected [C] with C=5 (from x)"),
        ((x, dt, A, B, C, 1.0), "D is a float, expected a tensor [C]; convert it first, e.g. "
         "torch.as_tensor(D)"),
        ((x, dt, A, B, C, D, state.mT), "state is [2, 3, 5], expected [B C N] = [2, 5, 3]; give "
         "the state that an earlier call returned"),
    ):  # fmt: skip
        with pytest.raises(trilby.errors.TrilbyError) as caught:
            getattr(trilby.selective, form)(*given)
        assert str(caught.value) == f"selective.{form}: {sentence}"


def test_what_lies_between_the_places_of_scratch_memory_is_not_read(monkeypatch):
    """Scratch memory full of NaN changes nothing: every number is written before it is read."""
    given, empty = drawn(T=33, C=70), torch.Tensor.new_empty
    wanted = with_gradients(trilby.selective.fused, given)

    def unset(self, *size, **how):
        return empty(self, *size, **how).fill_(torch.nan)

    monkeypatch.setattr(torch.Tensor, "new_empty", unset)
    got = with_gradients(trilby.selective.fused, given)
    assert launch.CHANNELS < 70
    for one, other in zip(got, wanted, strict=True):
        assert torch.equal(one, other)
