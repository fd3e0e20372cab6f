"""Each label of the gallery is true: tested with plain torch, without the verifier."""

import re
import sys

import pytest
import torch

from tests.gallery import plain
from tests.house.floors import imports, outsiders
from tests.house.tree import SOURCES
from trilby.gallery import GALLERY, LAWS, SOUND, WRONG, sound_casts

STANDARD = set(sys.stdlib_module_names)
FAMILIES = {
    "mask on one path only",
    "off-by-one masks and windows",
    "statistics over time or batch",
    "top-k over time",
    "convolutions",
    "chunk recurrences",
    "position and alignment in caches",
    "lost, stale or skewed states",
    "left and right padding",
    "packing",
    "detached normalisers and wrong backwards",
    "fully masked rows",
    "masks by large numbers",
    "overflow and cancellation in decays",
    "positions and counters in half precision",
    "compile branches",
}

# gradcheck blames them, as their reports say
BLUNT = {
    name: {"differentiates"}
    for name in (
        "row_without_gradient", "kink_at_zero", "straight_through", "scaled_straight_through",
    )
}  # fmt: skip


def excused(exhibit):
    return set(exhibit.then) | set(exhibit.how.get("waive", ())) | {"compiles"}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_wrong_as_its_label_says(name):
    exhibit = WRONG[name]
    seen = plain.PROBES[exhibit.law](exhibit)
    assert seen
    if exhibit.law != "resumes":  # which of the states it is has tests of its own
        assert seen == exhibit.kind


@pytest.mark.parametrize("name", WRONG)
def test_it_is_right_in_all_else(name):
    exhibit = WRONG[name]
    others = [law for law in LAWS if law != exhibit.law and law not in excused(exhibit)]
    assert {law: plain.PROBES[law](exhibit) for law in others} == dict.fromkeys(others, "")


@pytest.mark.parametrize("name", SOUND)
def test_a_right_one_is_right(name, monkeypatch):
    """With its float32 taken for float64: rounding is not what plain probes can tell from more."""
    monkeypatch.setattr(sound_casts, "NARROW", torch.float64)
    exhibit = SOUND[name]
    laws = [law for law in LAWS if law not in excused(exhibit) | BLUNT.get(name, set())]
    assert {law: plain.PROBES[law](exhibit) for law in laws} == dict.fromkeys(laws, "")


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_a_right_one_compiles(name):
    torch._dynamo.reset()
    assert plain.compiles(SOUND[name]) == ""


def test_every_family_is_shown_and_every_law_is_broken():
    assert {e.family for e in WRONG.values()} == FAMILIES
    assert {e.law for e in WRONG.values()} == set(LAWS)
    assert len(WRONG) >= 30
    assert len(SOUND) >= 15
    assert len(GALLERY) == len(WRONG) + len(SOUND)


@pytest.mark.parametrize("name", GALLERY)
def test_a_label_is_complete(name):
    exhibit = GALLERY[name]
    assert exhibit.source
    for address in exhibit.source:
        assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+", address)
    assert bool(exhibit.law) == bool(exhibit.kind) == (not exhibit.right)
    assert set(exhibit.then) <= set(LAWS[LAWS.index(exhibit.law) + 1 :] if exhibit.law else ())
    assert exhibit.story.endswith(".")
    assert len(exhibit.story) <= 100
    assert set(exhibit.how) <= {
        "carry", "padding", "documents", "vocabulary", "output", "waive", "time_axis", "fixed",
        "lookahead",
    }  # fmt: skip


def test_making_one_leaves_the_generator_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, two = (WRONG["norm_over_time"].make().state_dict() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_states_are_as_they_are_called():
    """Lost: not used. Stale: goes out as it came in. Double: the sum counts a call twice."""
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    past = torch.randn(2, 8, dtype=torch.float64)
    with torch.no_grad():
        lost = plain.exact(WRONG["state_lost_in_chunks"])
        assert torch.equal(lost(x, past)[0], lost(x)[0])
        assert not torch.equal(lost(x[:, :1], past)[0], lost(x[:, :1])[0])
        stale = plain.exact(WRONG["state_stale"])
        assert torch.equal(stale(x, past)[1], past)
        assert not torch.equal(stale(x, past)[0], stale(x)[0])
        double = plain.exact(WRONG["state_double"])
        _, k, v = double.heads(x)
        torch.testing.assert_close(double(x)[1], 2 * k.mT @ v)
        tail = plain.exact(WRONG["tail_decays_the_state"])
        torch.testing.assert_close(tail(x[:, :3])[0], tail(torch.cat([x, x], 1))[0][:, :3])


@pytest.mark.parametrize("module", [m for m in SOURCES if m.startswith("trilby/gallery/")])
def test_an_exhibit_needs_torch_alone(module):
    assert outsiders(SOURCES[module], module, STANDARD | {"torch", "trilby"}) == []
    ours = {name for name in imports(SOURCES[module], module) if name.startswith("trilby.")}
    elsewhere = {name for name in ours if not name.startswith("trilby.gallery")}
    assert elsewhere <= ({"trilby.streaming"} if module.endswith("exhibit.py") else set())
