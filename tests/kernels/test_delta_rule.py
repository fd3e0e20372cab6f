"""The operators of the delta rule: threads, scratch memory, graphs of gradients, short vectors."""

import os
import subprocess
import sys

import pytest
import torch

import trilby
from trilby.kernels import ops
from trilby.kernels.cpu.delta_rule import launch as delta
from trilby.kernels.cpu.recurrence import launch
from trilby.kernels.machine import compiler
from trilby.verify.precision.allowance import allowances

OPERATORS = {o.schema.name: o.plain for o in ops.OPERATORS}
FORWARD, BACKWARD = OPERATORS["delta_rule"], OPERATORS["delta_rule_backward"]


def arguments(dtype, heads=(4, 4), grad=False, T=9):
    q, k, v, beta, g = trilby.delta.draw(B=2, T=T, H=4, K=3, V=5, dtype=dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    state = torch.randn(2, 4, 3, 5, dtype=wide)
    given = q[:, :, : heads[0]], k[:, :, : heads[0]], v[:, :, : heads[1]], beta, g, state
    return [x.detach().clone().requires_grad_(grad) for x in given]


def with_gradients(form):
    """The form, and the gradients of its arguments for the gradients of its results."""

    def way(*given):
        *arguments, dy, dafter = given
        leaves = [x.detach().requires_grad_() for x in arguments]
        results = form(*leaves)
        gradients = torch.autograd.grad(results, leaves, (dy, dafter))
        return *(x.detach() for x in results), *gradients

    return way


@pytest.mark.parametrize("T", [1, 7, 65])
def test_values_and_gradients_in_float32_are_those_of_the_loop(T, monkeypatch):
    monkeypatch.setattr(launch, "CHECKED", True)
    given = arguments(torch.float32, T=T)
    given[4][:, 3:4] = -torch.inf
    y, after = trilby.delta.fused(*given)
    given = *given, torch.randn_like(y[:, :, :1]).expand_as(y), torch.randn_like(after)
    got = with_gradients(trilby.delta.fused)(*given)
    pairs = zip(got, allowances(with_gradients(trilby.delta.loop), given, {}), strict=True)
    for one, twin in pairs:
        excess = (one.double() - twin.answer).abs() / twin.allowed(one.dtype)
        assert float(excess.max()) <= 1


def test_a_gradient_is_the_same_with_and_without_a_graph_of_it():
    given = arguments(torch.float64, heads=(2, 4), grad=True, T=70)
    y, after = FORWARD(*given)
    loss = y.pow(2).sum() + after.sin().sum()
    plain = torch.autograd.grad(loss, given, retain_graph=True)
    graph = torch.autograd.grad(loss, given, create_graph=True)
    for one, other in zip(plain, graph, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("heads", [(4, 4), (1, 4)])
def test_threads_change_nothing(heads):
    given = [x.detach() for x in trilby.delta.draw(B=1, T=140, H=4, K=64, V=96)]
    given[:2] = [x[:, :, : heads[0]] for x in given[:2]]
    if heads[0] == 4:  # one head alone: threads share its columns
        given = [x[:, :, :1] for x in given]
    before, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            leaves = [x.clone().requires_grad_() for x in given]
            y, after = trilby.delta.fused(*leaves)
            found.append([y, after, *torch.autograd.grad(y.sum() + after.sum(), leaves)])
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize("heads", [(1, 2, 4, 4), (4, 2, 1, 1), (2, 4, 1, 4)])
def test_heads_that_share_in_different_ways_overwrite_what_was_in_memory(heads, monkeypatch):
    def unset(like, shape):
        return like.new_full(tuple(shape), torch.nan)

    monkeypatch.setattr(delta, "fresh", unset)
    *given, g, state = arguments(torch.float64)
    few = [x[:, :, :n] for x, n in zip(given, heads, strict=True)]
    many = [x.repeat_interleave(4 // n, 2) for x, n in zip(few, heads, strict=True)]
    y, after = FORWARD(*few, g, state)
    dy, dafter = torch.randn_like(y), torch.randn_like(after)
    found, all_heads = BACKWARD(dy, dafter, *few, g, state), BACKWARD(dy, dafter, *many, g, state)
    for one, other, n in zip(found, all_heads, (*heads, 4, 4), strict=True):
        expected = other if one is found[-1] else other.unflatten(2, (n, -1)).sum(3)
        torch.testing.assert_close(one, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", ["forward", "back", "rows"])
def test_a_write_between_two_places_is_found(way, monkeypatch):
    places = getattr(delta, f"{way}_places")
    monkeypatch.setattr(launch, "CHECKED", True)
    monkeypatch.setattr(delta, f"{way}_places", lambda *a: [n - 1 for n in places(*a)])
    given = arguments(torch.float32, T=128)
    with pytest.raises(RuntimeError, match="wrote beyond place"):
        BACKWARD(*FORWARD(*given), *given)


def test_kernels_outside_of_the_package_are_compiled_again_when_the_language_changes(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("from trilby.kernels.cpu.recurrence.record import down, record\n")
    names = {file.name for file in compiler.files(mine)}
    assert {"mine.py", "record.py", "sequences.py", "elements.py"} <= names


SMALL_MACHINE = """
import torch, trilby
from trilby.kernels.simd import vector
assert vector.REGISTER == {register}, vector.REGISTER
given = [x.requires_grad_() for x in trilby.delta.draw(B=1, T=21, H=2, K=5, V=37)]
for form in ("fused", "chunk"):
    y, after = trilby.delta(*given, form=form)
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
