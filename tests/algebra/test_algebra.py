"""The scan and its gradients, and products of decays, compared with plain loops."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import trilby
from trilby.algebra import fade, faded, firsts
from trilby.errors import DtypeError, ShapeError


def _normal(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _join(kind):
    """Affine maps h -> a h + b, a being a number, a diagonal or a matrix."""

    def join(f, then):
        (a, b), (c, d) = f, then
        if kind == "matrix":
            return c @ a, (c @ b[..., None])[..., 0] + d
        return c * a, c * b + d

    return join


def _maps(kind, T):
    size = {"scalar": (2, T, 1), "diagonal": (2, T, 3), "matrix": (2, T, 3, 3)}[kind]
    return _normal(*size), _normal(2, T, 3, seed=1)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("T", [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33])
@pytest.mark.parametrize("kind", ["scalar", "diagonal", "matrix"])
def test_a_scan_is_a_loop(kind, T, reverse):
    a, b = _maps(kind, T)
    found = trilby.scan(_join(kind), (a, b), reverse=reverse)
    one = None
    for t in reversed(range(T)) if reverse else range(T):
        now = a[:, t], b[:, t]
        one = now if one is None else _join(kind)(one, now)
        for got, wanted in zip(found, one, strict=True):
            torch.testing.assert_close(got[:, t], wanted, rtol=1e-9, atol=1e-9)
    assert [x.shape for x in found] == [a.shape, b.shape]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("kind", ["scalar", "diagonal", "matrix"])
def test_every_leaf_has_its_gradient_twice(kind):
    leaves = [x.requires_grad_() for x in _maps(kind, 5)]
    scan = lambda a, b: trilby.scan(_join(kind), (a, b))
    assert gradcheck(scan, leaves, check_forward_ad=True)
    assert gradgradcheck(scan, leaves)
    da, _ = torch.autograd.grad(scan(*leaves)[1].sum(), leaves)
    assert bool((da[:, 1:] != 0).any())  # the one that torch's own leaves at zero


def test_another_axis_one_tensor_and_an_order_that_matters():
    x = _normal(3, 4, 2, 2)
    found = trilby.scan(lambda a, b: b @ a, x, dim=-4)
    torch.testing.assert_close(found[2], x[2] @ x[1] @ x[0])
    torch.testing.assert_close(trilby.scan(torch.add, x, dim=1), x.cumsum(1))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda x: trilby.scan(torch.add, [x]), DtypeError, "scan: x holds a list, expected"),
        (lambda x: trilby.scan(torch.add, x, dim=2), ShapeError, "which has no axis 2"),
        (lambda x: trilby.scan(lambda a, b: a, (x, x[:, :2])), ShapeError, r"lengths \[3, 2\]"),
        (lambda x: trilby.scan(lambda a, b: (a, b), x), ShapeError, "combine made"),
        (lambda x: trilby.scan(lambda f, _: f[:1], (x, x)), ShapeError, "a tuple of 1"),
        (lambda x: trilby.scan(lambda f, _: (f[0].sum(), f[1]), (x, x)), ShapeError, "made"),
    ],
)
def test_what_cannot_be_scanned_is_named(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(torch.zeros(2, 3))


@pytest.mark.parametrize(
    "g", [[-0.1, -2.0, -0.5, -1.0], [-0.1, -torch.inf, -0.5, 0.3], [-900.0] * 4]
)
def test_products_of_decays(g):
    g = torch.tensor(g, dtype=torch.float64)
    wanted = torch.zeros(4, 4, dtype=torch.float64)
    for t in range(4):
        for s in range(t + 1):
            wanted[t, s] = g[s + 1 : t + 1].exp().prod()
    torch.testing.assert_close(fade(g), wanted, rtol=1e-13, atol=0)
    torch.testing.assert_close(faded(g), g.exp().cumprod(0), rtol=1e-13, atol=0)
    g.requires_grad_()
    (slope,) = torch.autograd.grad(fade(g).sum() + faded(g).sum(), g)
    assert bool(slope.isfinite().all())


def test_far_from_the_start_no_digits_are_lost():
    g = torch.full((4000,), -0.7)
    near = fade(g[-3:])
    torch.testing.assert_close(fade(g[-2000:])[-3:, -3:], near, rtol=0, atol=0)


def test_firsts():
    begins = torch.tensor([[False, True, False, True], [False] * 4])
    assert firsts(begins).tolist() == [[0, 1, 1, 3], [0, 0, 0, 0]]
