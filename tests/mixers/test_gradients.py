"""Every form of every room: gradients of x and of the state, to the second order, both modes."""

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from tests.mixers.rooms import FORMS, floats, laid_out, leaves_of, past

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")


@pytest.mark.parametrize("layout", ["plain", "series", "turned", "stepped"])
@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_gradients_of_the_sequence_and_of_the_state(mixer, form, layout):
    drawn = mixer.draw(B=2, T=5, C=2, dtype=torch.float64)
    function, leaves = leaves_of(form, drawn, past(mixer, C=2))
    leaves = [laid_out(x, layout) if i < len(drawn) else x for i, x in enumerate(leaves)]
    leaves = [x.detach().requires_grad_() for x in leaves]
    assert gradcheck(function, leaves, check_forward_ad=True)
    assert gradgradcheck(function, leaves)


@pytest.mark.parametrize("T", [1, 8, 9, 65])
@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_gradients_are_those_of_the_loop(mixer, form, T):
    drawn, state = mixer.draw(B=2, T=T, C=4, dtype=torch.float64), past(mixer)
    answers = []
    for way in (form, mixer.forms["loop"]):
        function, leaves = leaves_of(way, drawn, state)
        leaves = [x.detach().clone().requires_grad_() for x in leaves]
        outputs = function(*leaves)
        seeds = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) for o in outputs]
        answers.append(torch.autograd.grad(outputs, leaves, seeds))
    for got, wanted in zip(*answers, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_gradients_come_in_the_dtype_of_their_tensor(mixer, form):
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        drawn = [x.requires_grad_() for x in mixer.draw(B=1, T=9, C=2, dtype=dtype)]
        y, _ = form(*drawn)
        y.sum().backward()
        exact = [x.detach().double().requires_grad_() for x in drawn]
        mixer.forms["loop"](*exact)[0].sum().backward()
        for x, wanted in zip(drawn, exact, strict=True):
            assert x.grad.dtype == dtype
            eps = torch.finfo(dtype).eps
            torch.testing.assert_close(x.grad.double(), wanted.grad, rtol=9 * eps, atol=eps)


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_forward_mode_outside_of_torch_func(mixer, form):
    drawn, other = (mixer.draw(B=2, T=5, C=4, seed=s, dtype=torch.float64) for s in (0, 1))
    function, leaves = leaves_of(form, drawn, past(mixer))
    tangents = [*other, *floats(past(mixer, seed=4))]
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(x, t) for x, t in zip(leaves, tangents, strict=True)]
        slopes = [forward_ad.unpack_dual(out).tangent for out in function(*duals)]
    loop, _ = leaves_of(mixer.forms["loop"], drawn, past(mixer))
    _, wanted = torch.autograd.functional.jvp(loop, tuple(leaves), tuple(tangents))
    for got, right in zip(slopes, wanted, strict=True):
        torch.testing.assert_close(got, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_without_gradients_nothing_is_kept(mixer, form):
    drawn = [x.requires_grad_() for x in mixer.draw(B=2, T=5, C=4, dtype=torch.float64)]
    wanted = form(*drawn, past(mixer))[0]
    assert wanted.requires_grad
    for nothing in (torch.no_grad, torch.inference_mode):
        with nothing():
            y, state = form(*drawn, past(mixer))
            assert not y.requires_grad
            assert torch.equal(y, wanted)
    form(*(x.detach() for x in drawn), state)  # a state of inference mode goes on outside of it
