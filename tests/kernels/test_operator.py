"""How an operator is made: toys with kernels of their own, other devices, and mistakes."""

import importlib.util
import sys
from types import ModuleType

import pytest
import torch
from torch.autograd import forward_ad

import trilby
from trilby import shapes, torch_private
from trilby.errors import CallError, KernelError
from trilby.kernels.ops import OPERATORS, devices, operator
from trilby.kernels.ops.operator import Operator

pytestmark = pytest.mark.filterwarnings(  # of torch's checker, about itself
    "ignore:`torch.jit.script` is deprecated", "ignore:The .grad attribute of a Tensor that is not"
)


def kernels(name, **functions):
    """A module of kernels, which an operator finds by its name."""
    sys.modules[name] = module = ModuleType(name)
    vars(module).update(functions)
    return name


@pytest.fixture(scope="module")
def scaled():
    """y = scale x + bias, with an argument that is no tensor, on two devices."""
    here = kernels("toys_cpu", scaled=lambda x, scale, bias: scale * x + bias)
    there = kernels("toys_cuda", scaled=lambda x, scale, bias: x - 1000)
    return Operator(
        "toys::scaled(Tensor x, float scale, Tensor bias) -> Tensor",
        fake=lambda x, scale, bias: torch.empty_like(x),
        kernels={"CPU": here, "CUDA": there},
        gradient=lambda inputs, seeds: (inputs[1] * seeds[0], None, seeds[0]),
        tangent=lambda inputs, tangents: inputs[1] * tangents[0] + tangents[2],
    )


def test_an_argument_that_is_no_tensor(scaled):
    x, bias = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.equal(scaled(x, 3.0, bias), 3 * x + bias)
    way = lambda x, bias: scaled(x, 3.0, bias)
    assert torch.autograd.gradcheck(way, (x, bias), check_forward_ad=True)
    many = torch.func.vmap(way, in_dims=(1, None))(x[:, None].expand(2, 4, 3), bias)
    assert torch.equal(many, way(x, bias).expand(4, 2, 3))
    jacobian = torch.func.jacrev(way)(x, bias)
    assert torch.equal(jacobian.sum((2, 3)), torch.full((2, 3), 3.0, dtype=torch.float64))
    torch.library.opcheck(scaled.plain, (x, 3.0, bias))


def test_a_second_device_takes_its_own_kernel(scaled):
    """Called as torch calls it for a tensor on that device."""
    x = torch.ones(2)
    cuda = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
    assert scaled.plain.redispatch(cuda, x, 3.0, x).tolist() == [-999.0, -999.0]
    assert scaled(x, 3.0, x).tolist() == [4.0, 4.0]
    assert scaled.devices == ("cpu", "cuda")
    assert devices((scaled,)) == ("cpu", "cuda", "meta")
    assert devices((scaled, *OPERATORS)) == ("cpu", "meta")


def test_what_an_operator_lacks_is_said():
    where = kernels("toys_bare", bare=lambda x: x + 1)
    bare = Operator(
        "toys::bare(Tensor x) -> Tensor",
        fake=torch.empty_like, kernels={"CPU": where}, gradient=None,
    )  # fmt: skip
    x = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        assert bare(x).tolist() == [2.0, 2.0]
    with pytest.raises(KernelError, match=r"^bare: it has no gradient; call it under"):
        bare(x).sum().backward()
    with pytest.raises(KernelError, match=r"^bare: it has no forward mode; use reverse mode"):
        torch.func.jvp(bare, (torch.ones(2),), (torch.ones(2),))


def test_a_kernel_that_is_missing_is_said():
    where = kernels("toys_empty")
    lost = Operator(
        "toys::lost(Tensor x) -> Tensor",
        fake=torch.empty_like, kernels={"CPU": where}, gradient=None,
    )  # fmt: skip
    with pytest.raises(KernelError, match=r"^lost: toys_empty has no function lost; write one"):
        lost(torch.ones(2))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("f(Tensor x)", r"schema is 'f\(Tensor x\)', expected 'name\(Tensor x, ...\) ->"),
        ("f(x) -> Tensor", "f has the argument 'x', expected a type and a name"),
        ("f(Tensor! x) -> Tensor", "f has the argument 'Tensor! x', expected a type"),
        ("f(Matrix x) -> Tensor", "f has the argument 'Matrix x'.* types are Tensor, Tensor[?]"),
        ("f(Tensor x) -> int", "f returns 'int', expected 'Tensor' or"),
        ("f(Tensor x) -> Tensor, Tensor", "f returns 'Tensor, Tensor', expected"),
        ("f(Tensor x, Tensor y) -> Tensor", r"fake of f does not take \(x, y\) as its schema"),
    ],
)
def test_a_wrong_schema_is_one_line(schema, said):
    with pytest.raises(CallError, match=said) as caught:
        Operator(schema, fake=lambda x: x, kernels={}, gradient=None)
    assert str(caught.value).startswith("Operator: ")
    assert "\n" not in str(caught.value)


def test_an_unknown_device_is_one_line():
    with pytest.raises(CallError, match="kernels of f has the key 'cpu', expected one of CPU, CUD"):
        Operator(
            "f(Tensor x) -> Tensor", fake=lambda x: x, kernels={"cpu": "..cpu.f"}, gradient=None
        )


NAMES = [
    (forward_ad, "_current_level"),
    (torch._C, "_is_fwd_grad_enabled"),
    (torch._C, "_are_functorch_transforms_active"),
    (torch._C._functorch, "is_functorch_wrapped_tensor"),
    (torch._C._functorch, "is_batchedtensor"),
    (torch._C._functorch, "get_unwrapped"),
]


def _without(owner, name):
    """`torch_private` as it would be where torch lacks a name."""
    spec = importlib.util.find_spec("trilby.torch_private")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(owner, name)
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("owner", "name"), NAMES, ids=[name for _, name in NAMES])
def test_a_private_name_of_torch_may_go(owner, name, monkeypatch):
    found = _without(owner, name)
    changed = [f for f in ("transformed", "mapped") if getattr(found, f).__name__ != f"_{f}"]
    assert len(changed) == 1
    monkeypatch.setattr(operator, "transformed", found.transformed)
    monkeypatch.setattr(shapes, "mapped", found.mapped)
    for mixer in (trilby.mean, trilby.decay):
        given = mixer.drawn(B=2, T=4, C=3, dtype=torch.float64)
        packed = dict(documents=torch.tensor([[0, 0, 1, 1], [0, 1, 1, 2]]))
        way = lambda *a, m=mixer, p=packed: m.fused(*a, **p)[0]
        leaves = [x.requires_grad_() for x in given]
        assert torch.equal(way(*given), mixer.fused(*given, **packed)[0])
        assert torch.autograd.gradcheck(way, leaves, check_forward_ad=True, fast_mode=True)
        many = [torch.stack([x, 2 * x]) for x in given]
        for i, y in enumerate(torch.func.vmap(way)(*many)):
            torch.testing.assert_close(y, way(*(x[i] for x in many)), rtol=1e-13, atol=1e-13)
    falling = torch.tensor([[[1, 0]], [[0, 0]]])
    assert not torch.func.vmap(lambda d: torch.tensor(shapes.readable(d)))(falling).any()
    assert shapes.readable(falling)
    assert torch.func.grad(lambda x: x * shapes.readable(x))(torch.ones(())) == 1


def test_torch_private_answers_itself_here():
    assert torch_private.transformed.__name__ == "_transformed"
    assert torch_private.mapped.__name__ == "_mapped"
    assert not torch_private.transformed()
