"""Releases of transformers: `make test-newest` runs this folder on each of them."""

import pytest
import torch

from tests.acceleration.models import RELEASE
from trilby.errors import CallError
from trilby.transformers import accelerate
from trilby.transformers.seam import FIRST


@pytest.mark.skipif(RELEASE >= FIRST, reason="the functions of this release can be replaced")
def test_a_release_without_the_decorator_is_refused():
    with pytest.raises(CallError, match=r"^trilby\.transformers: transformers is \d.*, whose func"):
        accelerate(torch.nn.Linear(1, 1))


def test_transformers_that_cannot_be_imported_are_an_error(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(CallError, match=r"cannot be imported \(.*\); pip install 'transformers>="):
        accelerate(torch.nn.Linear(1, 1))
