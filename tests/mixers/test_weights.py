"""The triangle of every mixer rebuilds its output: `y = wei @ values + carried`."""

import pytest
import torch

from tests.mixers.outside import bank, shift
from tests.mixers.sweep import EVERY, drawn, past

DOCUMENTS = torch.tensor([[0] * 9, [0, 0, 1, 1, 1, 4, 4, 4, 4]])
WITH_OUTSIDE = [
    *EVERY,
    pytest.param(shift.MIXER, id="shift"),
    pytest.param(bank.MIXER, id="bank"),
]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("mixer", WITH_OUTSIDE)
def test_the_triangle_rebuilds_y(mixer, after, packed):
    if packed and not mixer.contract.documents:
        pytest.skip("it takes no documents")
    given = mixer.contract.named(drawn(mixer, T=9, C=3))
    given |= {"state": past(mixer, C=3) if after else None}
    given |= {"documents": DOCUMENTS} if packed else {}
    y, found = mixer(**given)[0], mixer.weights(**given)
    torch.testing.assert_close(found.on(given[mixer.contract.values]), y, rtol=1e-12, atol=1e-12)
    assert found.carried.shape == y.shape
    assert bool((found.wei.triu(1) == 0).all())
    if not after and "bias" not in given:  # which is carried as well
        assert bool((found.carried == 0).all())
