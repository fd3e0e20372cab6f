"""What holds of the kernel of every recurrence with a state of rows and columns."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from tests.mixers.sweep import fields

import trilby
from trilby.kernels import ops
from trilby.kernels.cpu.delta_rule import launch as delta
from trilby.kernels.cpu.fading_memory import launch as fading
from trilby.kernels.cpu.linear_attention import launch as attention
from trilby.kernels.cpu.recurrence import launch
from trilby.kernels.cpu.recurrence.sequences import PARTS

OPERATORS = {o.schema.name: o.plain for o in ops.OPERATORS}


def recurrence(mixer, name, module):
    forward, backward = OPERATORS[name], OPERATORS[f"{name}_backward"]
    return SimpleNamespace(mixer=mixer, module=module, forward=forward, backward=backward)


CHANNELS = (trilby.conv, trilby.ema, trilby.selective, trilby.weighted)
DECAY = recurrence(trilby.decay, "fading_memory", fading)
DELTA = recurrence(trilby.delta, "delta_rule", delta)
KDA = recurrence(trilby.kda, "delta_rule", delta)  # the same operator, with other gates
LINEAR = SimpleNamespace(  # its state is the memory, and the keys as one more column
    mixer=trilby.linear,
    module=attention,
    forward=lambda *given: joined(OPERATORS["linear_attention"](*parted(given), None, True)),
    backward=lambda dy, dstate, *given: joined(
        OPERATORS["linear_attention_backward"](*parted((dy, dstate)), *parted(given), None, True)
    ),
)
EVERY = pytest.mark.parametrize("way", [DECAY, DELTA, KDA, LINEAR], ids=lambda w: w.mixer.name)


def parted(given):
    return *given[:-1], given[-1][..., :-1], given[-1][..., -1]


def joined(results):
    return *results[:-2], torch.cat([results[-2], results[-1][..., None]], -1)


def arguments(way, dtype, heads=(4, 4), grad=False, T=9):
    """Those of the operator: of q and k the first of `heads`, of v the second."""
    q, k, v, *gates = way.mixer.draw(B=2, T=T, H=4, K=3, V=5, dtype=dtype)
    gates = gates[::-1] if way is KDA else gates  # of the operator, beta comes first
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    state = torch.randn(2, 4, 3, 5, dtype=wide)
    if way is LINEAR:  # of keys as q and k are: never negative
        state = torch.cat([state.double(), torch.rand(2, 4, 3, 1).double()], -1)
    given = q[:, :, : heads[0]], k[:, :, : heads[0]], v[:, :, : heads[1]], *gates, state
    return [x.detach().clone().requires_grad_(grad) for x in given]


@pytest.mark.parametrize(
    ("way", "T"),
    [(DECAY, 150), (DELTA, 70), (KDA, 70), (LINEAR, 70)],
    ids=["decay", "delta", "kda", "linear"],
)
def test_a_gradient_is_the_same_with_and_without_a_graph_of_it(way, T):
    given = arguments(way, torch.float64, heads=(2, 4), grad=True, T=T)
    y, after = way.forward(*given)
    loss = y.pow(2).sum() + after.sin().sum()
    plain = torch.autograd.grad(loss, given, retain_graph=True)
    graph = torch.autograd.grad(loss, given, create_graph=True)
    for one, other in zip(plain, graph, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def of_decay(shared):
    given = trilby.decay.draw(B=2, T=300, H=4, K=33, V=130)
    return [x[:, :, :1] if shared and i < 2 else x for i, x in enumerate(given)]


def of_delta(shared):
    """Where heads do not share, one head alone: threads share its columns."""
    given = trilby.delta.draw(B=1, T=140, H=4, K=64, V=96)
    return [x[:, :, :1] if not shared or i < 2 else x for i, x in enumerate(given)]


def of_kda(shared):
    """Where heads do not share, one head alone; else v and beta of one head for all."""
    given = trilby.kda.draw(B=1, T=140, H=4, K=64, V=96)
    return [x[:, :, :1] if not shared or i in (2, 4) else x for i, x in enumerate(given)]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("mixer", "drawn"),
    [(trilby.decay, of_decay), (trilby.delta, of_delta), (trilby.kda, of_kda)],
    ids=["decay", "delta", "kda"],
)
def test_threads_change_nothing(mixer, drawn, shared):
    given = [x.detach() for x in drawn(shared)]
    before, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            leaves = [x.clone().requires_grad_() for x in given]
            y, after = mixer.fused(*leaves)
            found.append([y, after, *torch.autograd.grad(y.sum() + after.sum(), leaves)])
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize("way", [DECAY, DELTA, KDA], ids=lambda w: w.mixer.name)  # in place
@pytest.mark.parametrize("T", [1, 3])
def test_nor_do_they_where_a_decoder_keeps_its_state_in_one_place(way, T, monkeypatch):
    monkeypatch.setattr(launch, "SMALL", 0)
    before = torch.get_num_threads()
    for V in (128, 130):  # whole vectors of columns, and not
        given = way.mixer.draw(B=1, T=T, H=1, K=33, V=V)
        start, found = torch.randn(1, 1, 33, V), []
        try:
            for n in (1, 2, 5):
                torch.set_num_threads(n)
                state = start.clone()
                found.append([way.mixer.advance(*given, state=state), state])
        finally:
            torch.set_num_threads(before)
        wanted = list(way.mixer.loop(*given, start))
        torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-5)
        for others in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize(
    ("way", "heads"),
    [
        *((DECAY, heads) for heads in ((1, 2, 4), (2, 1, 4), (4, 2, 1), (2, 4, 1))),
        *((DELTA, heads) for heads in ((1, 2, 4, 4), (4, 2, 1, 1), (2, 4, 1, 4))),
        *((KDA, heads) for heads in ((1, 2, 4, 4, 4), (4, 2, 1, 1, 2), (2, 4, 1, 4, 1))),
        *((LINEAR, heads) for heads in ((1, 2, 4), (4, 2, 1), (2, 4, 1))),
    ],
)
def test_heads_that_share_in_different_ways_overwrite_what_was_in_memory(way, heads, monkeypatch):
    def unset(like, shape):
        return like.new_full(tuple(shape), torch.nan)

    monkeypatch.setattr(way.module, "fresh", unset)
    *given, state = arguments(way, torch.float64)
    heads = (*heads, 4, 4)[: len(given)]  # g of every head, unless it is said
    few = [x[:, :, :n] for x, n in zip(given, heads, strict=True)]
    many = [x.repeat_interleave(4 // n, 2) for x, n in zip(few, heads, strict=True)]
    y, after = way.forward(*few, state)
    seeds = torch.randn_like(y), torch.randn_like(after)
    found, all_heads = way.backward(*seeds, *few, state), way.backward(*seeds, *many, state)
    for one, other, n in zip(found, all_heads, (*heads, 4), strict=True):
        expected = other if one is found[-1] else other.unflatten(2, (n, -1)).sum(3)
        torch.testing.assert_close(one, expected, rtol=1e-12, atol=1e-12)


@EVERY
@pytest.mark.parametrize("T", [1, 5, 150])
def test_nothing_is_written_between_the_places_of_scratch_memory(way, T, monkeypatch):
    monkeypatch.setattr(launch, "CHECKED", True)
    given = arguments(way, torch.float32, heads=(2, 4), T=T)
    y, after = way.forward(*given)
    assert all(t.isfinite().all() for t in way.backward(y, after, *given))


def test_functions_that_are_written_for_a_record_have_names_of_their_own():
    """Programs that two processes compiled, loaded by a third, share functions of one name.

    With one name for all of them, kda was wrong after delta in such a process.
    """
    made = [of.py_func for of in PARTS.values()]
    assert len({f"{of.__module__}.{of.__qualname__}" for of in made}) == len(made) >= 8


@pytest.mark.parametrize(
    ("way", "name"),
    [
        (DECAY, "forward"),
        (DECAY, "backward"),
        (DELTA, "forward"),
        (DELTA, "back"),
        (DELTA, "rows"),
        (KDA, "channel_forward"),
        (KDA, "channel_back"),
        (KDA, "channel_rows"),
        (LINEAR, "pass"),
    ],
)
def test_a_write_between_two_places_is_found(way, name, monkeypatch):
    places = getattr(way.module, f"{name}_places")
    monkeypatch.setattr(launch, "CHECKED", True)
    monkeypatch.setattr(way.module, f"{name}_places", lambda *a: [n - 1 for n in places(*a)])
    given = arguments(way, torch.float32, T=128)
    with pytest.raises(RuntimeError, match="wrote beyond place"):
        way.backward(*way.forward(*given), *given)


@pytest.mark.parametrize("T", [1, 5, 150])
@pytest.mark.parametrize("mixer", CHANNELS, ids=lambda mixer: mixer.name)
def test_nor_between_those_of_a_mixer_of_channels(mixer, T, monkeypatch):
    monkeypatch.setattr(launch, "CHECKED", True)
    leaves = [x.requires_grad_() for x in mixer.draw(B=2, T=T, C=70)]
    y, after = mixer.fused(*leaves)
    ends = fields(after)
    found = torch.autograd.grad(y.sum() + sum(t.sum() for t in ends), leaves)
    assert all(t.isfinite().all() for t in (y, *ends, *found))


@pytest.mark.parametrize("mixer", CHANNELS, ids=lambda mixer: mixer.name)
def test_nor_do_threads_change_these(mixer):
    given, before, found = mixer.draw(B=2, T=300, C=130), torch.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            leaves = [x.clone().requires_grad_() for x in given]
            y, after = mixer.fused(*leaves)
            found.append([y, *fields(after), *torch.autograd.grad(y.sum(), leaves)])
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


SMALL_MACHINE = """
import torch, trilby
from trilby.kernels.simd import vector
assert vector.REGISTER == {register}, vector.REGISTER
given = [x.requires_grad_() for x in trilby.{mixer}.draw(B=1, T=21, H=2, K=5, V=37)]
for form in ("fused", "chunk"):
    y, after = trilby.{mixer}(*given, form=form)
    found = y, after, *torch.autograd.grad(y.sin().sum(), given)
    if form == "chunk":
        for a, b in zip(found, wanted):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    wanted = found
print("right")
"""


OLDEST, HASWELL = ("x86-64", "+sse2", 16), ("haswell", "+avx,+avx2,+fma", 32)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the names of processors are those of x86")
@pytest.mark.parametrize(
    ("way", "machine"),
    [
        pytest.param(way, machine, marks=[pytest.mark.long] * (i % 2 != j))
        for i, way in enumerate((DECAY, DELTA, KDA, LINEAR))  # one machine each at every change
        for j, machine in enumerate((OLDEST, HASWELL))
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else given.mixer.name,
)
def test_a_machine_with_shorter_vectors(way, machine, tmp_path):
    name, features, register = machine
    told = dict(NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features, NUMBA_CACHE_DIR=str(tmp_path))
    code = SMALL_MACHINE.format(register=register, mixer=way.mixer.name)
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False, capture_output=True, text=True, timeout=110, env=os.environ | told,
    )  # fmt: skip
    assert done.stdout.strip() == "right", done.stderr
