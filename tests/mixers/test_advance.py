"""`Mixer.advance`: a stream that keeps its state in one place, of every mixer."""

import pytest
import torch

import trilby
from trilby.errors import ShapeError
from trilby.mixers import MIXERS

FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
KERNELS = {name: mixer for name, mixer in MIXERS.items() if mixer.inplace is not None}
WITH_KERNEL = pytest.mark.parametrize("mixer", KERNELS.values(), ids=KERNELS)


def close(found, wanted, **tolerance):
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def cut(mixer, given, start, end):
    """The sequences from start to end, and the parameters."""
    times = [a.sequence for a in mixer.contract.arguments.values()]
    return [x[:, start:end] if t else x for x, t in zip(given, times, strict=False)]


def drawn(mixer, T, dtype=torch.float32):
    """Arguments and a state; of heads q and k have half as many where they may share."""
    given = list(mixer.drawn(B=2, T=T, C=4, dtype=dtype))
    if mixer.contract.shared == "H":  # q and k come first
        given[:2] = [x[:, :, ::2] for x in given[:2]]
    _, state = mixer.loop(*given)
    return given, state


def test_decay_and_the_delta_rules_have_a_kernel_for_it():
    assert {"decay", "delta", "kda"} <= KERNELS.keys()


@WITH_KERNEL
@pytest.mark.parametrize("dtype", FLOATING)
def test_a_stream_may_keep_its_state_in_one_place(mixer, dtype):
    given, before = drawn(mixer, 20, dtype)
    held, y, wanted = before.clone(), [], []
    where = held.data_ptr()
    for start, end in [(0, 1), (1, 2), (2, 17), (17, 18), (18, 20), (20, 20)]:
        now = cut(mixer, given, start, end)
        y.append(mixer.advance(*now, state=held))
        z, before = mixer.fused(*now, state=before)
        wanted.append(z)
    assert held.data_ptr() == where
    close([*y, held], [*wanted, before], rtol=0, atol=0)


@WITH_KERNEL
def test_it_steps_aside_where_a_graph_or_a_trace_is_wanted(mixer, monkeypatch):
    given, before = drawn(mixer, 3)
    y, after = mixer.fused(*given, before)
    launched, inside = [], mixer.inplace.kernel
    counted = lambda *a, **named: launched.append(1) or inside(*a, **named)
    monkeypatch.setattr(mixer.inplace, "kernel", counted)
    leaves = [x.clone().requires_grad_() for x in given]
    held = before.clone()
    found = mixer.advance(*leaves, state=held)
    wanted = torch.autograd.grad(mixer.loop(*leaves, before)[0].sum(), leaves)
    close([found, held, *torch.autograd.grad(found.sum(), leaves)], [y, after, *wanted])
    compiled = torch.compile(mixer.advance, backend="eager")
    held = before.clone()
    close([compiled(*given, state=held), held], [y, after])
    turned = before.mT.contiguous().mT
    close([mixer.advance(*given, state=turned), turned], [y, after])
    assert not launched
    held = before.clone()
    close([mixer.advance(*given, state=held), held], [y, after])
    assert launched


@WITH_KERNEL
def test_a_state_of_another_shape_is_refused_and_left_as_it_was(mixer):
    given, before = drawn(mixer, 3)
    fewer = before[:, :1].contiguous()
    kept = fewer.clone()
    with pytest.raises(ShapeError, match=rf"^{mixer.name}.advance: state is \["):
        mixer.advance(*given, state=fewer)
    close([fewer], [kept], rtol=0, atol=0)


def test_delta_advances_without_a_gate():
    q, k, v, beta, _ = trilby.delta.draw(T=5)
    held = trilby.delta.contract.empty(q, k, v, beta, None)
    y, after = trilby.delta.fused(q, k, v, beta)
    close([trilby.delta.advance(q, k, v, beta, state=held), held], [y, after])
