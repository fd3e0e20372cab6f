"""A contract: what it tells of arguments and states, and what it refuses to be."""

import inspect
import pickle

import pytest
import torch

from tests.mixers.sweep import EVERY, drawn, fields, past
from trilby.contract import SAME, WIDE, Contract
from trilby.errors import CallError, DtypeError, ShapeError, StateError
from trilby.state import Parts

NEST = dict(conv=("B C", SAME), ssm=dict(h=("B C", WIDE), count=("B", torch.int64)))


def test_a_state_may_be_nested():
    contract = Contract("demo", x="B T C", state=NEST)
    x = torch.zeros(2, 7, 3, dtype=torch.bfloat16)
    state = contract.empty(x)
    assert {n: (list(t.shape), t.dtype) for n, t in contract.state.tensors(state).items()} == {
        "conv": ([2, 3], torch.bfloat16),
        "ssm.h": ([2, 3], torch.float32),
        "ssm.count": ([2], torch.int64),
    }
    assert contract.start("demo", (x,), state)[0] is state
    assert contract.state.filled(contract.state.tensors(state)) == state
    listed = "conv [B, C], ssm.h [B, C], ssm.count [B]"
    with pytest.raises(StateError) as caught:
        contract.start("demo.loop", (x,), {"conv": x})
    assert str(caught.value) == (
        f"demo.loop: state is a dict, expected the triple ({listed}) that an earlier call returned"
    )
    wrong = {"conv": state["conv"], "ssm": {"h": state["ssm"]["h"], "count": torch.zeros(2)}}
    with pytest.raises(DtypeError, match=r"^demo.loop: ssm.count is float32, expected int64; "):
        contract.start("demo.loop", (x,), wrong)


def test_a_state_of_one_tensor_is_that_tensor():
    parts = Parts(dict(state=("B C", WIDE)))
    x = torch.zeros(2, 3)
    assert parts.filled(parts.tensors(x)) is x
    assert (
        parts.blank(torch.zeros(2, 7, 3, dtype=torch.double), dict(B=2, C=3)).dtype == torch.double
    )


@pytest.mark.parametrize("mixer", EVERY)
def test_the_contract_makes_the_state_that_the_loop_starts_from(mixer):
    contract, given = mixer.contract, mixer.contract.named(drawn(mixer, T=0))
    order = [given.get(n, False if a.flag else None) for n, a in contract.arguments.items()]
    empty = contract.empty(*order)
    after = mixer.loop(**given)[1]
    assert type(empty) is type(after)
    for one, other in zip(fields(empty), fields(after), strict=True):
        assert torch.equal(one, other)
        assert one.dtype == other.dtype
    assert contract.state.tensors(past(mixer)).keys() == {p.path for p in contract.state}
    assert contract.sizes(*order)["T"] == 0


@pytest.mark.parametrize("mixer", EVERY)
def test_the_contract_and_the_signature_name_the_same_arguments(mixer):
    takes = inspect.signature(mixer.loop).parameters
    assert {*takes} == {*mixer.contract.arguments, "state", "documents"}
    for name, argument in mixer.contract.arguments.items():
        assert argument.optional == (takes[name].default is not takes[name].empty)
    again = pickle.loads(pickle.dumps(mixer.contract))
    assert again.arguments == mixer.contract.arguments


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (dict(a="C"), "demo: no argument has an axis T; declare a sequence, x='B T C'"),
        (dict(x="B T C", a=int), "demo: a is declared as <class 'int'>; write its axes, float, "
         "bool or None"),
        (dict(x="B T C", a=("C", "N")), "demo: a cannot be declared as ('C', 'N')"),
        (dict(x="B T C", values="y"), "demo: y is not one of its sequences ('x',)"),
        (dict(x="B T C", state=dict(h=("B N", WIDE))), "demo: state h is [B N], which has an axis "
         "that no argument has; its size would not be known"),
    ],
)  # fmt: skip
def test_a_declaration_that_contradicts_itself(declared, sentence):
    state = dict(state=("B", WIDE))
    with pytest.raises(CallError) as caught:
        Contract("demo", **({"state": state} | declared))
    assert str(caught.value) == sentence


def growing(**state):
    kept = dict(keys=("B S H:k K", SAME), count=("B", torch.int64)) | state
    return Contract("demo", q="B T H K", k="B T H K", shared="H", grows="S", state=kept)


def test_a_state_may_grow_and_have_the_heads_of_one_argument():
    contract, q, k = growing(), torch.ones(2, 5, 4, 3), torch.ones(2, 5, 2, 3)
    empty = contract.empty(q, k)
    assert [list(t.shape) for t in empty.values()] == [[2, 0, 2, 3], [2]]
    after = dict(keys=torch.ones(2, 7, 2, 3), count=torch.tensor([7, 1]))
    assert contract.start("demo", (q, k), after)[0] is after
    assert "keys [B S H K]" in repr(contract)
    for wrong in (torch.ones(2, 7, 4, 3), torch.ones(2, 7, 2, 2)):
        with pytest.raises(ShapeError, match=r"keys is \[2, 7, .*expected \[B S H K\].*|K=3"):
            contract.start("demo", (q, k), after | dict(keys=wrong))
    both = growing(values=("B S", SAME))
    uneven = dict(keys=after["keys"], count=after["count"], values=torch.ones(2, 6))
    with pytest.raises(ShapeError, match=r"values is \[2, 6\], expected \[B S\] with S=7"):
        both.start("demo", (q, k), uneven)


def test_an_axis_of_an_argument_that_has_none():
    for axis in ("H:g", "K:k", "H:"):
        with pytest.raises(CallError, match=f"the axis '{axis}', expected a shared axis"):
            growing(keys=(f"B S {axis} K", SAME))
