"""`trilby audit transformers --accelerated`: the same laws on models whose layers call trilby."""

import pytest
import torch

pytest.importorskip("transformers")

from tests.acceleration.models import FEW, MORE, NARROW
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


NOT_OURS = {("bamba", "resumes")}  # `test_texts` shows it
LAWS = ["causal", "isolated", "padding", "documents", "resumes"]


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", sorted({*FEW, *MORE} - NARROW))
def test_laws_hold_for_every_type(kind):
    built = ADAPTER.build(kind, torch.float64)
    broken = set()
    for law in LAWS:
        spared = {"resumes": ()}.get(law, ("carry",)) + (("padding",) if law == "documents" else ())
        how = {k: v for k, v in built.how.items() if k not in spared}
        (found,) = check(built.module, built.example, laws=[law], effort="quick", **how)
        broken |= {(kind, law)} if found.outcome == "broken" else set()
    restore(built.module.model)
    assert broken <= NOT_OURS
