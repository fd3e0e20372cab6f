"""The model of what a call costs on many ranks: its fit, its terms, and its picture."""

import json
import runpy
import sys

import pytest

from tests.house.tree import ROOT
from trilby.comm import formula
from trilby.mixers import MIXERS

PICTURE = ROOT / "docs" / "pictures" / "sharding.svg"
FITTED = ROOT / "benchmarks" / "results" / "sharding-cost.json"


@pytest.fixture
def cost(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in ("cost", "sharding"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import cost

    return cost


def test_constants_are_found_again(cost):
    true = cost.Machine(2e-5, 1e-9), {"mean": cost.Pass(1e-4, 3e-9, 2e-9)}
    told = {
        "messages": [{"bytes": n, "seconds": 2e-5 + 1e-9 * n} for n in (64, 4096, 1 << 20)],
        "mixers": {"mean": [
            {"positions": n, "call": 1e-4 + 3e-9 * n, "segment": 1e-4 + 5e-9 * n}
            for n in (1000, 2000, 9000)]},
    }  # fmt: skip
    here, passes = cost.model(told)
    assert here == pytest.approx(true[0], rel=1e-6)
    assert passes["mean"] == pytest.approx(true[1]["mean"], rel=1e-6)


@pytest.mark.parametrize("ranks", [2, 3, 6])
def test_a_ring_has_the_bytes_of_the_formula(cost, ranks):
    one_byte, nothing = cost.Machine(0.0, 1.0), cost.Pass(0.0, 0.0, 0.0)
    n = 4096
    found = cost.seconds("attention", ranks, ranks * n, one_byte, nothing)
    call = formula.Call(MIXERS["attention"].contract, cost.ATTENTION, [n] * ranks, slots=0)
    most = max(formula.sent(call, rank)[0].bytes for rank in range(ranks))
    places = 8 * n // 2  # what each query sees goes along, which the model leaves out
    assert found == pytest.approx(most + (ranks - 2) * formula.SIZE - places, rel=1e-3)


@pytest.mark.parametrize("name", ["decay", "delta"])
def test_a_chain_is_for_few_ranks_and_a_prefix_for_many(cost, name):
    free = cost.Machine(0.0, 0.0)
    two, many = (cost.seconds(name, n, n * 8000, free, cost.Pass(0, 1e-6, 2e-6)) for n in (2, 900))
    assert two == pytest.approx(8e-3 * 9 / 8)
    assert many == pytest.approx(8e-3 * 3)


def test_the_picture_is_that_of_the_measurements(cost):
    drawn = runpy.run_path(str(ROOT / "docs" / "pictures" / "sharding.py"))
    assert PICTURE.read_text("utf-8") == drawn["svg"](json.loads(FITTED.read_text("utf-8")))
