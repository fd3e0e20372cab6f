"""The convolution beside torch's and transformers', and what its contract says to the letter."""

import pytest
import torch
from torch.nn.functional import conv1d, silu

import trilby
from tests.mixers.sweep import laid_out
from trilby.kernels.machine import threads
from trilby.shapes import FLOATING

FORMS = list(trilby.conv.forms)
CLOSE = dict(rtol=1e-11, atol=1e-11)  # float64: right programs agree to 1e-14 or so
DOCUMENTS = torch.tensor([[0] * 4 + [1] * 2 + [5] * 64, [2] + [3] * 69])


def drawn(T=70, C=5, W=4, B=2, dtype=torch.float64):
    """x, kernel, bias and a state."""
    given = trilby.conv.draw(B=B, T=T, C=C, W=W, dtype=dtype)
    rng = torch.Generator().manual_seed(7)
    return *given, torch.randn(B, W - 1, C, generator=rng, dtype=torch.float64).to(dtype)


def by_torch(x, kernel, bias, state, activated):
    u = torch.cat([state, x], 1)
    z = conv1d(u.mT, kernel[:, None], bias, groups=len(kernel)).mT
    return silu(z) if activated else z, u[:, x.shape[1] :]


def by_transformers(x, kernel, bias, state, activated):
    """A prefill of `causal_conv1d_fn` has no past; their step of a stream has one."""
    from transformers.models.mamba.modeling_mamba import causal_conv1d_update

    kept = state.mT.clone()
    how = "silu" if activated else None
    y = causal_conv1d_update(x.mT, kept, kernel, bias, how)
    return y.mT, kept.mT


def with_gradients(way, given):
    """The results, and the gradients of every argument for uneven gradients of the results."""
    leaves = [t.detach().clone().requires_grad_() for t in given]
    out = way(*leaves)
    seeds = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) for o in out]
    return *out, *torch.autograd.grad(out, leaves, seeds, materialize_grads=True)


@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize(("T", "W"), [(1, 4), (2, 4), (3, 4), (70, 4), (40, 1), (9, 7), (3, 40)])
@pytest.mark.parametrize("form", FORMS)
def test_values_states_and_gradients_are_those_of_torch(form, T, W, activated):
    given = drawn(T, W=W)
    got = with_gradients(lambda *a: trilby.conv(*a, silu=activated, form=form), given)
    wanted = with_gradients(lambda *a: by_torch(*a, activated), given)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("activated", [False, True])
def test_a_prefill_and_steps_of_transformers(activated):
    from transformers.models.mamba.modeling_mamba import causal_conv1d_fn

    x, kernel, bias, _ = drawn()
    how = "silu" if activated else None
    wanted = causal_conv1d_fn(x.mT, kernel, bias, how).mT
    y, state = trilby.conv(x, kernel, bias, silu=activated)
    torch.testing.assert_close(y, wanted, **CLOSE)
    for t in range(3):
        now = x[:, t : t + 1]
        wanted, after = by_transformers(now, kernel, bias, state, activated)
        y, state = trilby.conv(now, kernel, bias, state, silu=activated)
        torch.testing.assert_close((y, state), (wanted, after), **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_pieces_shorter_than_the_kernel_keep_older_inputs(form):
    x, kernel, bias, state = drawn(T=11, W=6)
    wanted = trilby.conv.loop(x, kernel, bias, state)
    y = []
    for piece in x.split([1, 1, 2, 0, 3, 1, 1, 2], 1):
        now, state = trilby.conv(piece, kernel, bias, state, form=form)
        assert state.shape == (2, 5, 5)
        y.append(now)
    torch.testing.assert_close((torch.cat(y, 1), state), wanted, **CLOSE)


@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize("form", FORMS[1:])
def test_documents_and_their_gradients_are_those_of_the_loop(form, activated):
    given = drawn()
    found = []
    for way in (form, "loop"):
        found.append(
            with_gradients(
                lambda *a, way=way: trilby.conv(*a, DOCUMENTS, silu=activated, form=way), given
            )
        )
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, **CLOSE)


def test_the_state_after_a_short_document_has_zeros_before_it():
    x, kernel, bias, state = drawn(T=5)
    documents = torch.tensor([[0, 0, 0, 0, 1], [0, 0, 0, 1, 1]])
    for form in FORMS:
        after = trilby.conv(x, kernel, bias, state, documents, form=form)[1]
        assert torch.equal(after[0, :2], torch.zeros(2, 5, dtype=torch.float64))
        assert torch.equal(after[0, 2], x[0, 4])
        assert torch.equal(after[1, 1:], x[1, 3:])


@pytest.mark.parametrize("form", [f for f in FORMS if f != "matrix"])
def test_nan_reaches_the_positions_that_take_it_and_no_other_document(form):
    x, kernel, bias, _ = drawn(T=12, B=1)
    x[0, 3, 2] = torch.nan
    y, _ = trilby.conv(x, kernel, bias, form=form)
    assert y.isnan().nonzero().tolist() == [[0, t, 2] for t in (3, 4, 5, 6)]
    documents = torch.tensor([[0] * 5 + [1] * 7])
    y, _ = trilby.conv(x, kernel, bias, None, documents, form=form)
    assert y.isnan().nonzero().tolist() == [[0, t, 2] for t in (3, 4)]


@pytest.mark.parametrize("activated", [False, True])
def test_the_triangle_rebuilds_y_with_silu_too(activated):
    x, kernel, bias, state = drawn(T=9)
    documents = DOCUMENTS[:, :9]
    found = trilby.conv.weights(x, kernel, bias, state, documents, silu=activated)
    y, _ = trilby.conv(x, kernel, bias, state, documents, silu=activated)
    torch.testing.assert_close(found.on(x), y, **CLOSE)
    assert bool((found.wei.triu(1) == 0).all())
    plain = trilby.conv.weights(x, kernel)
    assert plain.wei[0, 0].diagonal(-2).tolist() == [float(kernel[0, 1])] * 7
    assert bool((plain.carried == 0).all())


@pytest.mark.parametrize("layout", ["series", "turned", "stepped", "offset"])
@pytest.mark.parametrize("dtype", FLOATING)
def test_the_kernel_takes_any_strides_and_dtype(dtype, layout):
    given = drawn(C=33, dtype=dtype)
    wanted = with_gradients(lambda *a: trilby.conv.fused(*a, silu=True), given)
    strided = [laid_out(given[0], layout), *given[1:]]
    leaves = [t.detach().requires_grad_() for t in strided]
    y, after = trilby.conv.fused(*leaves, silu=True)
    assert torch.equal(y, wanted[0])
    assert torch.equal(after, wanted[1])
    seeds = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) for o in (y, after)]
    for got, right in zip(torch.autograd.grad((y, after), leaves, seeds), wanted[2:], strict=True):
        assert torch.equal(got, right)
    exact = trilby.conv.loop(*(t.double() for t in given), silu=True)[0]
    torch.testing.assert_close(y.double(), exact, rtol=4 * torch.finfo(dtype).eps, atol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("B", "C"), [(5, 40), (1, 1100)])  # threads share rows, or channels
def test_threads_change_nothing(B, C, packed, monkeypatch):
    given = drawn(T=300, C=C, B=B, dtype=torch.float32)
    documents = (torch.arange(300) // 70).expand(B, 300) if packed else None
    found = []
    for n in (1, 2, 5):
        monkeypatch.setattr(threads, "count", lambda n=n: n)
        for _ in range(2):
            found.append(
                with_gradients(lambda *a: trilby.conv.fused(*a, documents, silu=True), given)
            )
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


def test_gradients_of_the_kernel_keep_their_digits_over_long_rows():
    given = trilby.conv.draw(B=1, T=20000, C=2, dtype=torch.float32)
    exact = with_gradients(trilby.conv.fused, [t.double() for t in given])
    got = with_gradients(trilby.conv.fused, given)
    for one, other in zip(got[3:], exact[3:], strict=True):
        torch.testing.assert_close(one.double(), other, rtol=2e-6, atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing_and_parameters_may_be_wide(form):
    given = drawn(T=9, dtype=torch.float32)
    wanted = trilby.conv(*given, form=form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(trilby.conv(*given, form=form)[0], wanted[0])
    x, kernel, bias, state = drawn(T=9, dtype=torch.bfloat16)
    y, after = trilby.conv(x, kernel.float(), bias.float(), state, form=form)
    assert (y.dtype, after.dtype) == (torch.bfloat16, torch.bfloat16)
    assert torch.equal(y, trilby.conv(x, kernel, bias, state, form=form)[0])


@pytest.mark.parametrize("form", [*FORMS, "weights"])
def test_wrong_input_is_named(form):
    x, kernel, bias, state = drawn(T=9)
    for given, sentence in (
        ((x, kernel[:, :0]), "kernel is [5, 0], expected [C W] with W >= 1"),
        ((x, kernel[:2]), "kernel is [2, 4], expected [C W] with C=5 (from x)"),
        ((x, kernel, bias[:2]), "bias is [2], expected [C] with C=5 (from x)"),
        ((x, kernel, bias, x[:, :4]), "state is [2, 4, 5], expected [B W-1 C] = [2, 3, 5]; give "
         "the state that an earlier call returned"),
        ((x, kernel, bias, state.float()), "state is float32, expected float64; convert it, e.g. "
         "state.to(torch.float64)"),
    ):  # fmt: skip
        with pytest.raises(trilby.errors.TrilbyError) as caught:
            getattr(trilby.conv, form)(*given)
        assert str(caught.value) == f"conv.{form}: {sentence}"
