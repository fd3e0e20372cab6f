"""The operators of fading memories: torch's own checker, threads, machines with short vectors."""

import os
import subprocess
import sys

import pytest
import torch

import trilby
from trilby.bench.proof import compare
from trilby.kernels import ops

OPERATORS = {o.schema.name: o.plain for o in ops.OPERATORS}
FORWARD, BACKWARD = OPERATORS["fading_memory"], OPERATORS["fading_memory_backward"]
MEAN = OPERATORS["prefix_mean"], OPERATORS["prefix_mean_backward"]


def arguments(dtype, heads=(4, 4), grad=False, T=9):
    q, k, v, g = trilby.decay.draw(B=2, T=T, H=4, K=3, V=5, dtype=dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    state = torch.randn(2, 4, 3, 5, dtype=wide)
    given = q[:, :, : heads[0]], k[:, :, : heads[0]], v[:, :, : heads[1]], g, state
    return [x.detach().clone().requires_grad_(grad) for x in given]


@pytest.mark.parametrize("heads", [(4, 4), (2, 4), (4, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_opcheck(dtype, heads):
    torch.library.opcheck(FORWARD, arguments(dtype, heads, grad=dtype == torch.float64))
    y, after = FORWARD(*arguments(dtype, heads))
    given = arguments(dtype, heads, grad=dtype == torch.float64)
    torch.library.opcheck(BACKWARD, (torch.randn_like(y), torch.randn_like(after), *given))


@pytest.mark.parametrize("operator", MEAN, ids=["forward", "backward"])
def test_opcheck_of_packed_means(operator):
    x = torch.randn(2, 9, 3, dtype=torch.float64, requires_grad=True)
    total = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    first = torch.tensor([[0, 0, 0, 3, 3, 3, 6, 6, 6], [0] * 9])
    torch.library.opcheck(operator, (x, total, torch.tensor([3, 0]), first))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_the_operator_for_gradients_has_one_itself():
    given = arguments(torch.float64, grad=True, T=3)
    seeds = [torch.randn_like(t).requires_grad_() for t in FORWARD(*given)]
    assert torch.autograd.gradcheck(BACKWARD, (*seeds, *given))


def test_a_gradient_is_the_same_with_and_without_a_graph_of_it():
    given = arguments(torch.float64, heads=(2, 4), grad=True, T=150)
    y, after = FORWARD(*given)
    loss = y.pow(2).sum() + after.sin().sum()
    plain = torch.autograd.grad(loss, given, retain_graph=True)
    graph = torch.autograd.grad(loss, given, create_graph=True)
    for one, other in zip(plain, graph, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("groups", [(1, 2, 4, 4), (2, 1, 4, 1), (1, 4, 2, 2), (4, 2, 1, 4)])
def test_every_argument_may_have_groups_of_its_own(groups):
    """The operator takes several numbers of groups; gradients are those of repeated heads."""
    *whole, state = arguments(torch.float64, T=150)
    few = [x[:, :, :n].clone().requires_grad_() for x, n in zip(whole, groups, strict=True)]
    repeated = [x.repeat_interleave(4 // x.shape[2], 2) for x in few]
    found = torch.autograd.grad(FORWARD(*few, state)[0].sin().sum(), few)
    wanted = torch.autograd.grad(FORWARD(*repeated, state)[0].sin().sum(), few)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


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
