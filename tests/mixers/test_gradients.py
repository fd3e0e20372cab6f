"""Every form of every mixer: gradients of x and of the state, to the second order, both modes."""

import inspect

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck

import trilby
from tests.mixers.sweep import FORMS, drawn, floats, laid_out, leaves_of, on_sequences, past

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")


def _given(mixer, form, layout):
    tensors = len(mixer.contract.arguments) + len(list(mixer.contract.state))
    T = 5 if tensors < 6 else 3  # the cost is that of every pair of numbers
    given = drawn(mixer, T=T, C=2)
    function, leaves = leaves_of(form, given, past(mixer, C=2))
    leaves[: len(given)] = on_sequences(mixer, given, lambda x: laid_out(x, layout))
    return function, [x.detach().requires_grad_() for x in leaves]


@pytest.mark.parametrize("layout", ["plain", "series", "turned", "stepped"])
@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_gradients_of_the_sequence_and_of_the_state(mixer, form, layout):
    """Number by number once, along random directions in the other layouts and to the second order.

    A wrong number shows along a random direction too; only where it is does not.
    """
    function, leaves = _given(mixer, form, layout)
    assert gradcheck(function, leaves, check_forward_ad=True, fast_mode=layout != "plain")
    assert gradgradcheck(function, leaves, fast_mode=True)


@pytest.mark.long
@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_gradients_of_gradients_number_by_number(mixer, form):
    assert gradgradcheck(*_given(mixer, form, "plain"))


@pytest.mark.parametrize("T", [1, 8, 9, 65])
@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_gradients_are_those_of_the_loop(mixer, form, T):
    given, state = drawn(mixer, T=T), past(mixer)
    answers = []
    for way in (form, mixer.forms["loop"]):
        function, leaves = leaves_of(way, given, state)
        leaves = [x.detach().clone().requires_grad_() for x in leaves]
        outputs = function(*leaves)
        seeds = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) for o in outputs]
        answers.append(torch.autograd.grad(outputs, leaves, seeds))
    for got, wanted in zip(*answers, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def _compared(q, k, v):
    """The sums of the magnitudes for attention, where values are compared with their mean."""
    w = trilby.attention.weights(*(x.double() for x in (q, k, v))).wei
    q, k, v = (x.detach().double().abs().transpose(1, 2) for x in (q, k, v))  # [B, H, T, K]
    dw = v.sum(-1)[:, :, None].expand_as(w)
    ds = w * (dw + (w * dw).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
    return [x.transpose(1, 2) for x in (ds @ k, ds.mT @ q, w.mT @ torch.ones_like(v))]


def _sums(loop, given):
    """The gradients of the sum of y, in float64."""
    exact = [x.detach().double().requires_grad_() for x in given]
    return torch.autograd.grad(loop(*exact)[0].sum(), exact)


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_gradients_come_in_the_dtype_of_their_tensor(mixer, form):
    """A gradient is a sum of products, with some roundings of float32 on the way to it (two for
    each position that something fades over, six where it is compared and corrected there, one for
    each that is added up, and five), each half a unit of the sum of the magnitudes; and one
    rounding to the dtype, of at most a unit.
    """
    loop, T = mixer.forms["loop"], 9
    taken_off = (
        ("v", "beta") if mixer.name in ("delta", "kda") else ()
    )  # negative, all its terms add up
    roundings = T * (6 if taken_off else 2) + T + 5
    names = list(inspect.signature(loop).parameters)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        given = [x.requires_grad_() for x in drawn(mixer, B=1, T=T, C=2, dtype=dtype)]
        form(*given)[0].sum().backward()
        sizes = [x if name == "g" else x.abs() for name, x in zip(names, given, strict=False)]
        sizes = [-x if n in taken_off else x for n, x in zip(names, sizes, strict=False)]
        special = {"attention": _compared, "linear": _divided}.get(mixer.name)
        sizes = special(*given) if special else _sums(loop, sizes)
        for x, wanted, size in zip(given, _sums(loop, given), sizes, strict=True):
            assert x.grad.dtype == dtype
            one = torch.finfo(dtype)
            allowed = roundings * 2.0**-24 * size.abs() + one.eps * wanted.abs() + one.tiny
            assert bool(((x.grad.double() - wanted).abs() <= allowed).all())


def _divided(q, k, v):
    """The gradient of a quotient is a difference; neither part is above that of its numerator."""
    q, k, v = exact = [x.detach().abs().double().requires_grad_() for x in (q, k, v)]
    read = trilby.linear.loop(q, k, v, normalize=False)[0]
    sums = trilby.linear.loop(q, k, torch.ones_like(v), normalize=False)[0].detach()
    return [2 * d for d in torch.autograd.grad((read / sums).sum(), exact)]


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_forward_mode_outside_of_torch_func(mixer, form):
    given, other = (drawn(mixer, seed=s) for s in (0, 1))
    function, leaves = leaves_of(form, given, past(mixer))
    tangents = [*other, *floats(past(mixer, seed=4))]
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(x, t) for x, t in zip(leaves, tangents, strict=True)]
        slopes = [forward_ad.unpack_dual(out).tangent for out in function(*duals)]
    loop, _ = leaves_of(mixer.forms["loop"], given, past(mixer))
    _, wanted = torch.autograd.functional.jvp(loop, tuple(leaves), tuple(tangents))
    for got, right in zip(slopes, wanted, strict=True):
        torch.testing.assert_close(got, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_without_gradients_nothing_is_kept(mixer, form):
    given = [x.requires_grad_() for x in drawn(mixer)]
    wanted = form(*given, past(mixer))[0]
    assert wanted.requires_grad
    for nothing in (torch.no_grad, torch.inference_mode):
        with nothing():
            y, state = form(*given, past(mixer))
            assert not y.requires_grad
            assert torch.equal(y, wanted)
    form(*(x.detach() for x in given), state)  # a state of inference mode goes on outside of it
