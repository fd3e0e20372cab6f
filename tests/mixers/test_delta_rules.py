"""Delta and kda: what holds of both, beside transformers and beside their loops."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch

import trilby
from tests.mixers import peers
from tests.mixers.sweep import laid_out
from trilby.shapes import FLOATING

CLOSE = dict(rtol=1e-11, atol=1e-11)  # float64: right programs agree to 1e-13 or so


class Rule(NamedTuple):
    """A mixer, and where it differs from the other."""

    mixer: Any
    beta: int  # which argument it is
    g: int
    groups: list[tuple[int, ...]]  # heads of each argument
    module: Callable[..., Any]  # of transformers
    names: dict[str, str]
    whole: bool  # whether their function needs a copy of each head
    resets: Any  # the gates of a position that a test makes -inf, and those that it leaves
    stays: Any


DELTA = Rule(
    mixer=trilby.delta, beta=3, g=4,
    groups=[(4, 4, 4, 4, 4), (2, 2, 4, 4, 4), (4, 4, 2, 2, 2), (1, 4, 1, 1, 4), (4, 1, 4, 4, 1)],
    module=peers.qwen3_next,
    names={n: f"torch_{n}_gated_delta_rule" for n in ("chunk", "recurrent")},
    whole=False, resets=..., stays=(..., slice(0, 0)),
)  # fmt: skip
KDA = Rule(
    mixer=trilby.kda, beta=4, g=3,
    groups=[(4, 4, 4, 4, 4), (2, 2, 4, 4, 4), (4, 4, 2, 2, 2), (1, 4, 1, 4, 1), (4, 1, 4, 1, 4)],
    module=peers.kimi_linear,
    names={n: f"{n}_kimi_delta_attention" for n in ("chunk", "recurrent")},
    whole=True, resets=(..., slice(1, None)), stays=(..., 0),
)  # fmt: skip
RULES = [DELTA, KDA]
EVERY = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.mixer.name)
FORMS = list(trilby.delta.forms)
FORM = pytest.mark.parametrize("form", FORMS)
GROUPS = pytest.mark.parametrize(
    ("rule", "heads"),
    [
        pytest.param(rule, heads, id=f"{rule.mixer.name}-{'-'.join(map(str, heads))}")
        for rule in RULES
        for heads in rule.groups
    ],
)


def drawn(rule, T=13, K=3, V=5, heads=(4,) * 5, dtype=torch.float64):
    """Arguments with beta from 0 to 2."""
    given = list(rule.mixer.draw(B=2, T=T, H=4, K=K, V=V, dtype=dtype))
    given[rule.beta] = 2 * given[rule.beta]
    given[rule.g] = given[rule.g].clone()
    return [x[:, :, :n] for x, n in zip(given, heads, strict=True)]


def state(K=3, V=5, dtype=torch.float64):
    return torch.randn(2, 4, K, V, generator=torch.Generator().manual_seed(5), dtype=dtype)


def whole(x):
    """Every head's own copy."""
    return x.repeat_interleave(4 // x.shape[2], 2)


def answers(form, given):
    """y, the state, and the gradients of all arguments for uneven gradients of both."""
    leaves = [x.detach().clone().requires_grad_() for x in given]
    y, after = form(*leaves)
    out = (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum()
    return y, after, *torch.autograd.grad(out + after.sin().sum(), leaves)


def close(got, wanted, **how):
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, **(CLOSE | how))


def theirs(rule, monkeypatch):
    """The rule of transformers in float64, with our order of arguments."""
    module = rule.module(monkeypatch)
    named = dict(output_final_state=True, use_qk_l2norm_in_kernel=True)

    def of(name):
        function = getattr(module, rule.names[name])

        def form(*given):
            *given, h = given
            given = [whole(x) for x in given] if rule.whole else given
            gates = given[rule.g], given[rule.beta]
            return function(*given[:3], *gates, initial_state=h, **named)

        return form

    def normal(q, k, *others):
        return module.l2norm(q) * q.shape[-1] ** -0.5, module.l2norm(k), *others

    return SimpleNamespace(chunk=of("chunk"), recurrent=of("recurrent"), normal=normal)


def raw(rule, T, K=6, V=5):
    """q and k not normalised, 2 heads for 4; gates that forget at once, slowly and never."""
    given = drawn(rule, T, K, V, heads=rule.groups[1])
    g, beta = given[rule.g], given[rule.beta]
    if rule is DELTA:
        g[:, 1::5], g[:, 2::5], g[:, 3::7] = -1e4, 0, -40
    else:
        g[:, 1::5, :, :3], g[:, 2::5, :, 1:4], g[:, 3::7, 1:] = -1e3, 0, -50
    beta[:, ::6], beta[:, 1::6] = 0, 1
    q, k, *others = given
    return 3 * q, 2 * k, *others, state(K, V)


@EVERY
def test_values_states_and_gradients_are_those_of_transformers(rule, monkeypatch):
    given, their = raw(rule, 70), theirs(rule, monkeypatch)  # a chunk and a rest
    recurrent, chunk = (answers(way, given) for way in (their.recurrent, their.chunk))
    for form in FORMS:

        def ours(*leaves, form=form):
            return rule.mixer(*their.normal(*leaves), form=form)

        found = answers(ours, given)
        close(found, recurrent)
        close(found, chunk)


@EVERY
@pytest.mark.parametrize("T", [1, 3, 4, 5, 63, 64, 65, 128, 130])
def test_borders_of_chunks_beside_transformers(T, rule, monkeypatch):
    given, their = raw(rule, T), theirs(rule, monkeypatch)
    wanted, given = their.recurrent(*given), their.normal(*given)
    for form in ("chunk", "fused"):
        close(rule.mixer(*given, form=form), wanted)
    close(rule.mixer.chunk(*given, size=7), wanted)


@GROUPS
@FORM
def test_groups_are_heads_that_share(form, rule, heads):
    for T in (0, 1, 9):
        given = drawn(rule, T, heads=heads)
        wanted = rule.mixer.loop(*map(whole, given), state())
        close(rule.mixer(*given, state(), form=form), wanted)


@GROUPS
@pytest.mark.parametrize("form", FORMS[1:])
def test_gradients_with_groups_and_resets_are_those_of_the_loop(form, rule, heads):
    for T in (5, 66) if form in ("chunk", "fused") else (5,):
        given = [*drawn(rule, T, heads=heads), state()]
        given[rule.g][:, T // 2][rule.resets] = -torch.inf
        found, wanted = (answers(rule.mixer.form(way), given) for way in (form, "loop"))
        close(found, wanted)
        dg = found[2 + rule.g][:, T // 2]
        assert bool((dg[rule.resets] == 0).all())
        assert bool((dg[rule.stays] != 0).all())


@EVERY
@FORM
def test_beta_of_0_1_and_2(form, rule):
    given = drawn(rule, T=1)
    q, k, v = given[:3]
    f = given[rule.g].exp().view(2, 4, -1, 1) * state()
    there = (k[:, 0, :, :, None] * f).sum(2)
    for size in (0.0, 1.0, 2.0):
        given[rule.beta] = torch.full_like(given[rule.beta], size)
        y, after = rule.mixer(*given, state(), form=form)
        found = (k[:, 0, :, :, None] * after).sum(2)
        close([found], [(1 - size) * there + size * v[:, 0]])  # 2: as far again on the other side
        close([y[:, 0]], [(q[:, 0, :, :, None] * after).sum(2)])
        if not size:
            close([after], [f])


@EVERY
@FORM
def test_a_reset_forgets_all(form, rule):
    given = drawn(rule, T=70)
    given[rule.g][:, 20] = -torch.inf
    y, after = rule.mixer(*given, state(), form=form)
    other = [torch.cat([0.5 * x[:, :20], x[:, 20:]], 1) for x in given]
    z, also = rule.mixer(*other, 7 * state(), form=form)
    assert torch.equal(y[:, 20:], z[:, 20:])
    assert torch.equal(after, also)
    close([y[:, 20:]], [rule.mixer.loop(*(x[:, 20:] for x in given))[0]])


@EVERY
@pytest.mark.parametrize("layout", ["series", "turned", "stepped", "offset"])
@pytest.mark.parametrize("dtype", FLOATING)
def test_the_kernel_takes_any_strides_and_dtype(dtype, layout, rule):
    given = drawn(rule, T=70, K=37, V=33, dtype=dtype)
    before = state(37, 33, torch.float64 if dtype == torch.float64 else torch.float32)
    strided = [laid_out(x, layout) for x in given]
    for T in (70, 1):
        found = rule.mixer.fused(*(x[:, :T] for x in strided), laid_out(before, "turned"))
        wanted = rule.mixer.fused(*(x[:, :T] for x in given), before)
        close(found, wanted, rtol=0, atol=0)
        exact = rule.mixer.loop(*(x[:, :T].double() for x in given), before.double())
        close([found[0].double()], exact[:1], rtol=4 * torch.finfo(dtype).eps, atol=2e-5)


@EVERY
@FORM
def test_the_state_of_halves_is_float32_and_gates_may_be(form, rule):
    for dtype in (torch.bfloat16, torch.float16):
        given = drawn(rule, dtype=dtype)
        y, after = rule.mixer(*given, form=form)
        assert (y.dtype, after.dtype) == (dtype, torch.float32)
        wide = [x.float() for x in given[3:]]
        assert torch.equal(y, rule.mixer(*given[:3], *wide, form=form)[0])


@EVERY
@FORM
def test_autocast_changes_nothing(form, rule):
    given = drawn(rule, dtype=torch.float32)
    wanted = rule.mixer(*given, form=form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(rule.mixer(*given, form=form), wanted, rtol=0, atol=0)


@GROUPS
def test_the_weights_say_what_it_does(rule, heads):
    given, before = drawn(rule, T=9, heads=heads), state()
    documents = torch.tensor([[0] * 9, [0, 0, 1, 1, 1, 4, 4, 4, 4]])
    for packed in (None, documents):
        found = rule.mixer.weights(*given, before, packed)
        close([found.on(given[2])], [rule.mixer.loop(*given, before, packed)[0]])
