"""The operators of fading memories: gradients, threads, machines with short vectors."""

import os
import subprocess
import sys

import pytest
import torch

import trilby
from trilby.bench.proof import compare
from trilby.kernels import ops
from trilby.kernels.cpu.fading_memory import launch as fading
from trilby.kernels.cpu.recurrence import launch

OPERATORS = {o.schema.name: o.plain for o in ops.OPERATORS}
FORWARD, BACKWARD = OPERATORS["fading_memory"], OPERATORS["fading_memory_backward"]


def arguments(dtype, heads=(4, 4), grad=False, T=9):
    q, k, v, g = trilby.decay.draw(B=2, T=T, H=4, K=3, V=5, dtype=dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    state = torch.randn(2, 4, 3, 5, dtype=wide)
    given = q[:, :, : heads[0]], k[:, :, : heads[0]], v[:, :, : heads[1]], g, state
    return [x.detach().clone().requires_grad_(grad) for x in given]


def test_a_gradient_is_the_same_with_and_without_a_graph_of_it():
    given = arguments(torch.float64, heads=(2, 4), grad=True, T=150)
    y, after = FORWARD(*given)
    loss = y.pow(2).sum() + after.sin().sum()
    plain = torch.autograd.grad(loss, given, retain_graph=True)
    graph = torch.autograd.grad(loss, given, create_graph=True)
    for one, other in zip(plain, graph, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("heads", [(4, 4), (1, 4)])
def test_threads_change_nothing(heads):
    given = [x.detach() for x in trilby.decay.draw(B=2, T=300, H=4, K=33, V=130)]
    given[:2] = [x[:, :, : heads[0]] for x in given[:2]]
    before, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            leaves = [x.clone().requires_grad_() for x in given]
            y, after = trilby.decay.fused(*leaves)
            found.append([y, after, *torch.autograd.grad(y.sum() + after.sum(), leaves)])
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


SMALL_MACHINE = """
import torch, trilby
from trilby.kernels.simd import vector
assert vector.REGISTER == {register}, vector.REGISTER
given = [x.requires_grad_() for x in trilby.decay.draw(B=1, T=21, H=2, K=5, V=37)]
for form in ("fused", "chunk"):
    y, after = trilby.decay(*given, form=form)
    found = y, after, *torch.autograd.grad(y.sin().sum(), given)
    if form == "chunk":
        for a, b in zip(found, wanted):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    wanted = found
print("right")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the names of processors are those of x86")
@pytest.mark.parametrize(
    ("name", "features", "register"), [("x86-64", "+sse2", 16), ("haswell", "+avx,+avx2,+fma", 32)]
)
def test_a_machine_with_shorter_vectors(name, features, register, tmp_path):
    told = dict(NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features, NUMBA_CACHE_DIR=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", SMALL_MACHINE.format(register=register)],
        check=False, capture_output=True, text=True, timeout=110, env=os.environ | told,
    )  # fmt: skip
    assert done.stdout.strip() == "right", done.stderr


@pytest.mark.parametrize("share", [0.0, 1e-3])
@pytest.mark.parametrize("cut", [None, 1000])
def test_memories_that_last_keep_their_digits_however_long_they_are(share, cut):
    q, k, v, g = trilby.decay.draw(B=1, T=4096, H=2, K=40, V=70)
    given = q, k, v, share * g

    def form(*given):
        if cut is None:
            return trilby.decay.fused(*given)
        y, state = trilby.decay.fused(*(x[:, :cut] for x in given))
        more, state = trilby.decay.fused(*(x[:, cut:] for x in given), state)
        return torch.cat([y, more], 1), state

    verdict = compare(trilby.decay.chunk, form, *given)
    assert verdict, verdict.sentence


def test_a_memory_that_lasts_forgets_at_a_reset_and_may_fade_again():
    q, k, v, g = trilby.decay.draw(B=1, T=700, H=2, K=5, V=40, dtype=torch.float64)
    g = 1e-3 * g
    g[:, 300] = -torch.inf
    g[:, 400:500] *= 1000
    for dtype, rtol in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        given = [x.to(dtype) for x in (q, k, v, g)]
        got, wanted = trilby.decay.fused(*given), trilby.decay.chunk(*(x.double() for x in given))
        for a, b in zip(got, wanted, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=rtol, atol=rtol * 10)
    alone = trilby.decay.fused(*(x[:, 300:] for x in (q, k, v, g)))[0]
    torch.testing.assert_close(
        trilby.decay.fused(q, k, v, g)[0][:, 300:], alone, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("heads", [(1, 2, 4), (2, 1, 4), (4, 2, 1), (2, 4, 1)])
def test_heads_that_share_in_different_ways_overwrite_what_was_in_memory(heads, monkeypatch):
    def unset(like, shape):
        return like.new_full(tuple(shape), torch.nan)

    monkeypatch.setattr(fading, "fresh", unset)
    *given, g, state = arguments(torch.float64)
    few = [x[:, :, :n] for x, n in zip(given, heads, strict=True)]
    many = [x.repeat_interleave(4 // n, 2) for x, n in zip(few, heads, strict=True)]
    y, after = FORWARD(*few, g, state)
    dy, dafter = torch.randn_like(y), torch.randn_like(after)
    found, all_heads = BACKWARD(dy, dafter, *few, g, state), BACKWARD(dy, dafter, *many, g, state)
    for one, other, n in zip(found, all_heads, (*heads, 4, 4), strict=True):
        expected = other if one is found[-1] else other.unflatten(2, (n, -1)).sum(3)
        torch.testing.assert_close(one, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("T", [1, 5, 150])
def test_nothing_is_written_between_the_places_of_scratch_memory(T, monkeypatch):
    monkeypatch.setattr(launch, "CHECKED", True)
    given = arguments(torch.float32, heads=(2, 4), T=T)
    y, after = FORWARD(*given)
    assert all(t.isfinite().all() for t in BACKWARD(y, after, *given))


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_a_write_between_two_places_is_found(way, monkeypatch):
    places = getattr(fading, f"{way}_places")
    monkeypatch.setattr(launch, "CHECKED", True)
    monkeypatch.setattr(fading, f"{way}_places", lambda *a: [n - 1 for n in places(*a)])
    given = arguments(torch.float32, T=128)
    with pytest.raises(RuntimeError, match="wrote beyond place"):
        BACKWARD(*FORWARD(*given), *given)
