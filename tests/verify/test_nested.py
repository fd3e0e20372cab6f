"""Nests: every leaf has a path, a copy shares nothing and keeps its strides."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import pytest
import torch

import trilby
from trilby.verify.copies.nested import clone, convert, held, leaves

Pair = namedtuple("Pair", "total count")


@dataclass
class Cache:
    key: torch.Tensor
    length: int


class Forbids(OrderedDict):
    """A mapping such as some models return: it can be set, not updated."""

    def update(self, *args, **kwargs):
        raise TypeError


def number(value=1.0):
    return torch.full((2,), value)


@pytest.mark.parametrize(
    ("result", "paths"),
    [
        (number(), ["y"]),
        ((number(), None), ["y", "state"]),
        ([number(), Pair(number(), 3)], ["y", "state.total", "state.count"]),
        (Pair(number(), 3), ["y.total", "y.count"]),
        ((number(), number(), number()), ["y.0", "y.1", "y.2"]),
        ({"a": number(), 1: [number()]}, ["y.a", "y.1.0"]),
        ((number(), Cache(number(), 3)), ["y", "state.key", "state.length"]),
        (None, ["y"]),
        ([], []),
        (trilby.mean, ["y"]),
    ],
)
def test_every_leaf_has_a_path(result, paths):
    assert [path for path, _ in leaves(result)] == paths


def test_arrays_and_complex_numbers_become_real_tensors():
    found = dict(leaves({"a": np.ones(2, np.float32), "n": np.int64(3), "c": torch.tensor(1 + 2j)}))
    assert found["y.a"].dtype == torch.float32
    assert found["y.n"].dtype == torch.int64
    assert found["y.c"].tolist() == [1, 2]
    assert isinstance(dict(leaves(np.array("text")))["y"], np.ndarray)


@pytest.mark.parametrize(
    "nested",
    [
        [number(), (number(), 2)],
        Pair(number(), number()),
        OrderedDict(a=number()),
        Forbids(a=number()),
        MappingProxyType({"a": number()}),
        Cache(number(), 3),
        np.ones((2, 2))[::-1],
        {"a": torch.nn.Linear(1, 1)},
        partial(torch.add, number(), alpha=2),
        torch.nn.Linear(1, 1).forward,
    ],
)
def test_a_copy_is_of_the_same_kind_and_shares_no_memory(nested):
    copied = clone(nested)
    same = dict if isinstance(nested, MappingProxyType) else type(nested)
    assert type(copied) is same
    ours, theirs = held(copied), held(nested)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        a.detach().add_(1)
        assert not torch.equal(a, b) or isinstance(nested, np.ndarray)
    if isinstance(nested, np.ndarray):
        copied += 1
        assert (nested == 1).all()


def test_numbers_change_their_dtype_and_nothing_else_does():
    given = [number(), torch.arange(2), torch.tensor(1j), np.float32(0.5), True, "text", 2.0]
    found = convert(given, torch.float64)
    assert [f.dtype for f in found[:4]] == [
        torch.float64,
        torch.int64,
        torch.complex128,
        np.float64,
    ]
    assert found[4:] == given[4:]
    assert convert(torch.nn.Linear(1, 1), torch.float64).weight.dtype == torch.float64


def test_a_mixer_is_called_and_never_taken_apart():
    assert clone(trilby.mean) is trilby.mean
    assert clone({"f": trilby.mean})["f"] is trilby.mean


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, ::2],
        lambda x: x.transpose(0, 1),
        lambda x: x[:1, :1].expand(3, 4),
        lambda x: x.flatten().unfold(0, 3, 1),
        lambda x: x[1:, 1:],
        lambda x: x[:0, ::2],
    ],
)
def test_strides_and_overlaps_are_kept(view):
    x = view(torch.arange(12.0).reshape(3, 4))
    for copied in (clone(x), convert(x, torch.float64)):
        assert copied.stride() == x.stride() or not x.numel()
        assert torch.equal(copied.float(), x)
        assert copied.data_ptr() != x.data_ptr() or not x.numel()


def test_a_conjugate_is_copied_by_value():
    x = torch.tensor([[1 + 2j, 3j], [0j, 1j]]).T.conj()
    assert torch.equal(clone(x), x)


def test_tied_parameters_stay_tied():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[1].weight = model[0].weight
    copied = convert(model, torch.float64)
    assert copied[1].weight is copied[0].weight
    assert copied[0].weight is not model[0].weight
