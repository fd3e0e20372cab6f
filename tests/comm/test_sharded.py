"""`trilby.sharded` and `group=` in one process: what they refuse, and what they leave alone."""

import pytest
import torch

import trilby
from tests.mixers.outside import shift
from trilby.errors import CallError, FormError
from trilby.sharding import _open


@pytest.fixture
def inside():
    """Inside of `trilby.sharded`, as far as a call can see."""
    _open.append(object())
    yield
    _open.pop()


def test_a_process_that_was_not_told_of_the_others_refuses(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(FormError) as caught:
        trilby.mean.shard(torch.ones(1, 2, 1))
    assert str(caught.value) == (
        "mean.shard: this process is one of 4 and torch.distributed is not initialised; call "
        'torch.distributed.init_process_group("gloo" or "nccl") first'
    )


def test_a_process_that_was_started_alone_is_a_group_of_one(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    x = torch.ones(1, 2, 1)
    assert torch.equal(trilby.mean.shard(x)[0], trilby.mean(x)[0])


def test_what_is_no_group_is_refused():
    wanted = "group is a str, expected a ProcessGroup or a DeviceMesh of torch.distributed"
    with pytest.raises(CallError, match=f"mean.shard: {wanted}"):
        trilby.mean.shard(torch.ones(1, 2, 1), group="sequence")
    with pytest.raises(CallError, match=f"sharded: {wanted}"), trilby.sharded("sequence"):
        pass
    with pytest.raises(CallError, match=r"group.*it belongs to form='shard'"):
        trilby.mean(torch.ones(1, 2, 1), group="sequence")


@pytest.mark.usefixtures("inside")
def test_a_mixer_without_the_form_says_so():
    mixer = shift.MIXER
    x, *rest = mixer.drawn(B=1, T=2, C=2)
    with pytest.raises(FormError, match="shift: form is 'shard', which does not exist"):
        mixer(x, *rest)
    with pytest.raises(FormError, match="shift: form is 'shard', which does not exist"):
        mixer.advance(x, *rest, state=mixer.contract.empty(x, *rest))


@pytest.mark.usefixtures("inside")
def test_a_form_by_name_and_the_plain_call_of_a_piece_stay_here():
    x = torch.ones(1, 2, 1)
    assert torch.equal(trilby.mean.local(x)[0], trilby.mean(x, form="scan")[0])
