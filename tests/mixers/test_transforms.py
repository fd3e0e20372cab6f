"""Every form of every mixer under torch.func, torch.compile, export, fake and meta tensors."""

import copy
import pickle
import shutil

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

import trilby
from tests.mixers.sweep import EVERY, FORMS, FUSED, drawn, fields, leaves_of, like, past

N = 3
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
]


def _drawn(mixer, seed=0, T=5):
    return drawn(mixer, T=T, seed=seed)


def _many(mixer):
    """N argument tuples as one, and N states as one, on a new first axis."""
    arguments = [torch.stack(t) for t in zip(*(_drawn(mixer, s) for s in range(N)), strict=True)]
    states = [past(mixer, seed=10 + s) for s in range(N)]
    stacked = map(torch.stack, zip(*map(fields, states), strict=True))
    return arguments, like(states[0], stacked)


def _one(state, i):
    return like(state, [t[i] for t in fields(state)])


def _equal(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_vmap_over_sequences(mixer, form, axis):
    arguments, states = _many(mixer)
    state = _one(states, 0)
    wanted = [form(*(a[i] for a in arguments), state) for i in range(N)]
    dims = tuple(axis if axis < a.ndim else 0 for a in arguments)  # a parameter has fewer axes
    moved = [a.movedim(0, dim) for a, dim in zip(arguments, dims, strict=True)]
    y, after = vmap(lambda *a: form(*a, state), in_dims=dims)(*moved)
    for i in range(N):
        _equal(y[i], wanted[i][0])
        for got, right in zip(fields(after), fields(wanted[i][1]), strict=True):
            _equal(got[i], right)
    _equal(vmap(lambda *a: form(*a)[0], in_dims=dims, out_dims=1)(*moved)[:, 1],
           form(*(a[1] for a in arguments))[0])  # fmt: skip


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_vmap_over_sequences_and_states(mixer, form):
    arguments, states = _many(mixer)
    y, after = vmap(form)(*arguments, states)
    for i in range(N):
        wanted, state = form(*(a[i] for a in arguments), _one(states, i))
        _equal(y[i], wanted)
        for got, right in zip(fields(_one(after, i)), fields(state), strict=True):
            _equal(got, right)


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_vmap_over_states_alone(mixer, form):
    arguments, states = _drawn(mixer), _many(mixer)[1]
    if form is trilby.mean.loop:  # it writes into a clone of x, as its docstring says
        with pytest.raises(RuntimeError, match="vmap: inplace arithmetic"):
            vmap(lambda s: form(*arguments, s)[0])(states)
        return
    y = vmap(lambda s: form(*arguments, s)[0])(states)
    for i in range(N):
        _equal(y[i], form(*arguments, _one(states, i))[0])


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_derivatives_of_torch_func(mixer, form):
    function, leaves = leaves_of(form, _drawn(mixer), past(mixer))
    loop, _ = leaves_of(mixer.forms["loop"], _drawn(mixer), past(mixer))
    places = tuple(range(len(leaves)))
    wanted = torch.autograd.functional.jacobian(loop, tuple(leaves))
    for way in (jacrev, jacfwd):
        for got, right in zip(way(function, argnums=places)(*leaves), wanted, strict=True):
            _equal(got, right)
    _, slope = jvp(function, tuple(leaves), tuple(torch.ones_like(x) for x in leaves))
    _, right = torch.autograd.functional.jvp(
        loop, tuple(leaves), tuple(torch.ones_like(x) for x in leaves)
    )
    _equal(slope, right)

    def bend(way):
        return lambda *a: sum(out.pow(3).sum() for out in way(*a))

    for got, right in zip(grad(bend(function), places)(*leaves), grad(bend(loop), places)(*leaves),
                          strict=True):  # fmt: skip
        _equal(got, right)
    _equal(hessian(bend(function))(*leaves), hessian(bend(loop))(*leaves))


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_a_gradient_for_each_of_many(mixer, form):
    arguments, states = _many(mixer)
    each = grad(lambda *a: form(*a)[0].pow(3).sum())
    got = vmap(each)(*arguments, states)
    for i in range(N):
        _equal(got[i], each(*(a[i] for a in arguments), _one(states, i)))


def _with_gradient(function, leaves):
    leaves = [x.detach().clone().requires_grad_() for x in leaves]
    outputs = function(*leaves)
    return [o.detach() for o in outputs], torch.autograd.grad(
        [o.pow(2).sum() for o in outputs], leaves
    )


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_compiled_whole(mixer, form):
    torch._dynamo.reset()
    function, leaves = leaves_of(form, _drawn(mixer), past(mixer))
    fast = torch.compile(function, fullgraph=True, backend="aot_eager")
    _equal(_with_gradient(fast, leaves), _with_gradient(function, leaves))
    start = torch.compile(lambda *a: form(*a)[0], fullgraph=True, backend="aot_eager")
    _equal(start(*_drawn(mixer)), form(*_drawn(mixer))[0])


@pytest.mark.parametrize("mixer", EVERY)
def test_the_call_compiled_whole_with_any_length(mixer):
    torch._dynamo.reset()
    fast = torch.compile(lambda *a: mixer(*a)[0], fullgraph=True, backend="aot_eager", dynamic=True)
    for T in (5, 6, 70):
        _equal(fast(*_drawn(mixer, T=T)), mixer(*_drawn(mixer, T=T))[0])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mixer", FUSED)
def test_fused_under_inductor(mixer):
    torch._dynamo.reset()
    function, leaves = leaves_of(mixer.forms["fused"], _drawn(mixer), past(mixer))
    fast = torch.compile(function, fullgraph=True)
    _equal(_with_gradient(fast, leaves), _with_gradient(function, leaves))


class _Module(torch.nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, *arguments):
        return self.form(*arguments)[0]


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_exported(mixer, form):
    program = torch.export.export(_Module(form), _drawn(mixer))
    _equal(program.module()(*_drawn(mixer, 1)), form(*_drawn(mixer, 1))[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_shapes_without_values(mixer, form, dtype):
    given, state = drawn(mixer, dtype=dtype), past(mixer, dtype=dtype)
    real = form(*given, state)
    on_meta = form(
        *(x.to("meta") for x in given), like(state, [t.to("meta") for t in fields(state)])
    )
    with FakeTensorMode() as mode:
        whole = like(state, map(mode.from_tensor, fields(state)))
        fake = form(*map(mode.from_tensor, given), whole)
    for got in (on_meta, fake):
        assert [(t.shape, t.dtype) for t in (got[0], *fields(got[1]))] == [
            (t.shape, t.dtype) for t in (real[0], *fields(real[1]))
        ]


@pytest.mark.parametrize("mixer", EVERY)
def test_a_mixer_travels(mixer):
    for same in (copy.deepcopy(mixer), pickle.loads(pickle.dumps(mixer))):
        assert repr(same) == repr(mixer)
        assert list(same.forms.values()) == list(mixer.forms.values())
        _equal(same(*_drawn(mixer))[0], mixer(*_drawn(mixer))[0])
