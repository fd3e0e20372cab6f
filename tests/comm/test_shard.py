"""The form `shard` on several processes: values, gradients, messages, errors, mutants."""

import pytest

from tests.comm import probes
from tests.comm.launch import SECONDS, on_ranks

LATE = "in_bfloat16"  # its kernels compile for a minute where nothing has used them yet


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("size", [2, 3])
def test_pieces_on_ranks_are_the_whole_on_one_process(size):
    daily = [name for name in probes.PROBES if name != LATE and (size == 2 or name == "traffic")]
    assert on_ranks(size, "tests.comm.run:complaints", True, *daily) == [[]] * size


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_every_case_on_ranks_is_the_whole_on_one_process(size):
    assert on_ranks(size, "tests.comm.run:complaints", False) == [[]] * size
