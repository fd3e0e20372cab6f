"""Checks of arguments: ranks, axes, dtypes, devices, and when values may be read."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from trilby.errors import DtypeError, ShapeError
from trilby.shapes import FLOATING, bind, exactly, floating, readable

Q = torch.zeros(2, 7, 4)


def test_letters_are_bound_across_arguments():
    assert bind("f", q=(Q, "B T K"), v=(torch.zeros(2, 7, 0), "B T V")) == {
        "B": 2, "T": 7, "K": 4, "V": 0,
    }  # fmt: skip
    assert bind("f", g=(torch.zeros(3, 3), "T T")) == {"T": 3}


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (dict(q=(Q, "B T K"), k=(Q[:, :6], "B T K")), ShapeError,
         "f: k is [2, 6, 4], expected [B T K] with T=7 (from q)"),
        (dict(q=(Q, "B T"), k=(Q, "B T K")), ShapeError,
         "f: q is [2, 7, 4], expected rank 2 [B T]; index or merge the extra axes"),
        (dict(q=(Q, "B T H K")), ShapeError,
         "f: q is [2, 7, 4], expected rank 4 [B T H K]; add the missing axes"),
        (dict(w=(torch.zeros(3, 4), "T T")), ShapeError,
         "f: w is [3, 4], expected [T T] with T=3 (from w)"),
        (dict(q=(3.0, "B")), DtypeError,
         "f: q is a float, expected a tensor [B]; convert it first, e.g. torch.as_tensor(q)"),
    ],
)  # fmt: skip
def test_what_does_not_bind_is_named(arguments, error, sentence):
    with pytest.raises(error) as caught:
        bind("f", **arguments)
    assert str(caught.value) == sentence


def test_one_floating_dtype_for_all():
    for dtype in FLOATING:
        floating("f", q=Q.to(dtype), k=Q.to(dtype))
    with pytest.raises(DtypeError) as caught:
        floating("f", q=Q, k=Q.bfloat16())
    assert str(caught.value) == (
        "f: k is bfloat16 but q is float32; give both one dtype, e.g. k.to(q.dtype)"
    )


def test_one_dtype_and_the_device_of_the_sequence():
    exactly("f", torch.float32, Q, s=Q)
    with pytest.raises(DtypeError) as caught:
        exactly("f", torch.float32, Q.to("meta"), s=Q)
    assert str(caught.value) == (
        "f: s is on cpu but the sequence is on meta; move it, e.g. s.to('meta')"
    )


def test_values_are_looked_at_only_where_there_are_any():
    seen = []
    torch.func.vmap(lambda x: seen.append(readable(x)) or x)(Q)
    torch.func.vmap(lambda x: seen.append(readable(Q[0])) or x)(Q)
    assert seen == [False, True]
    with FakeTensorMode():
        assert not readable(torch.zeros(2))
    compiled = torch.compile(lambda x: x + readable(x), backend="eager", fullgraph=True)
    assert compiled(torch.zeros(1)).item() == 0
    assert readable()
    assert readable(Q, Q.clone().requires_grad_())
