"""`trilby audit transformers --accelerated`: the same laws on models whose layers call trilby."""

import pytest
import torch

pytest.importorskip("transformers")

from tests.cli.refusing import refused
from trilby.audit import NotBuilt, adapter_of
from trilby.audit.accelerated import ADAPTER
from trilby.audit.continued import pieces
from trilby.audit.transformers import ADAPTER as ORIGINAL
from trilby.cli import main
from trilby.transformers import restore
from trilby.verify import check

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def mamba():
    built = ADAPTER.build("mamba", torch.float64)
    yield built
    restore(built.module.model)


def test_a_type_is_built_alike_and_accelerated(mamba):
    original = ORIGINAL.build("mamba", torch.float64)
    assert mamba.facts["parameters"] == original.facts["parameters"]
    assert "selective_scan_fn" in mamba.facts["replaced"]
    assert "documents" not in original.how
    assert mamba.how["documents"] == "position_ids"


@pytest.mark.slow
def test_packing_and_several_tokens_from_the_cache_hold(mamba):
    assert pieces(mamba).ok
    how = {k: v for k, v in mamba.how.items() if k not in ("carry", "padding")}
    (found,) = check(mamba.module, mamba.example, laws=["documents"], effort="quick", **how)
    assert found.ok, found.sentence
    verdict = pieces(ORIGINAL.build("mamba", torch.float64))
    assert (verdict.outcome, verdict.kind) == ("broken", "state dropped")


def test_a_type_without_such_layers_is_not_built():
    with pytest.raises(NotBuilt, match="nothing to accelerate: None of its layers calls"):
        ADAPTER.build("llama", torch.float64)


def test_it_is_an_audit_of_its_own(capsys):
    assert adapter_of("transformers, accelerated") is ADAPTER
    told = refused(capsys, main, ["audit", "x-transformers", "--accelerated"])
    assert "--accelerated is for transformers, not for x-transformers" in told
