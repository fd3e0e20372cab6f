"""Accelerated models of transformers on pieces of a sequence."""

import pytest

from tests.acceleration.models import RELEASE
from tests.comm.launch import SECONDS, on_ranks
from trilby.transformers.overtime import TYPES
from trilby.transformers.seam import FIRST

pytestmark = pytest.mark.skipif(RELEASE < FIRST, reason="no functions can be replaced there")


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_a_model_on_two_ranks_is_that_of_one_process():
    assert on_ranks(2, "tests.comm.models:complaints", "qwen3_next") == [[]] * 2


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("size", [2, 3])
def test_every_type_on_ranks_is_that_of_one_process(size):
    assert on_ranks(size, "tests.comm.models:complaints", *TYPES) == [[]] * size
