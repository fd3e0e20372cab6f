"""Nothing of a user's is changed unseen: versions, values behind `.data`, memory, attributes."""

import pytest
import torch
from torch import nn

import trilby
from trilby.verify.copies import restore
from trilby.verify.copies.restore import Snapshot


class Restless(nn.Module):
    """Cannot be copied, and each call changes it in every way there is."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("calls", torch.zeros(2))
        self.register_buffer("gone", torch.full((2,), torch.nan))
        self.seen, self.loose = [], torch.ones(3)

    def __deepcopy__(self, _memo):
        raise TypeError("there is one of me")

    def forward(self, x):
        y = self.linear(x)
        self.linear.weight.data.mul_(0.5)  # no version tells of it
        self.linear.bias.data = self.linear.bias.data + 1  # other memory
        self.calls.add_(1)
        self.loose.data[0] = 7
        self.seen.append(1)
        self.train(not self.training)
        return y


def told(module):
    tensors = (*module.state_dict().values(), module.loose)
    memory = [t.data_ptr() for t in tensors]
    return (
        [t.tolist() for t in tensors if not t.isnan().any()],
        memory,
        module.seen,
        module.training,
    )


@pytest.mark.parametrize("watched", [restore.WATCHED, 0])
def test_a_module_that_is_run_itself_is_as_before(monkeypatch, watched):
    monkeypatch.setattr(restore, "WATCHED", watched)
    module = Restless()
    before = told(module)
    x = torch.randn(2, 5, 8)
    trilby.check(module, x, laws=["causal", "isolated"], effort="quick")
    assert told(module) == before
    trilby.check(lambda x: module(x) + 1, x, laws=["causal"], effort="quick")
    assert told(module) == before


def test_each_call_starts_from_what_the_module_was():
    report = trilby.check(Restless(), torch.randn(2, 5, 8), laws=["causal", "repeats"])
    assert [v.kind for v in report] == ["remembers", ""], str(report)


def test_many_numbers_are_compared_when_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(restore, "WATCHED", 3)
    module = nn.Linear(2, 2)
    before = module.weight.detach().clone()
    kept = Snapshot([module], [module])
    module.weight.data += 1
    kept.restore()
    assert torch.equal(module.weight, before + 1)
    kept.restore(values=True)
    assert torch.equal(module.weight, before)
