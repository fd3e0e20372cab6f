"""docs/gallery.md and docs/comparison.md tell the truth."""

import importlib.util
import re

import pytest

from tests.gallery import comparison, page
from tests.gallery.others import CONTENT, FOUND, NEAR, OURS, PACKAGES, PLAIN, limited, verdict
from tests.gallery.test_verifier import OTHERWISE
from trilby.gallery import GALLERY, LAWS

COLUMNS = [*PLAIN, *PACKAGES, *OURS]


def written() -> dict[str, dict[str, str]]:
    """Method -> exhibit -> answer, read from the page."""
    rows = comparison.PAGE.read_text("utf-8").partition("## All results")[2].strip().splitlines()
    ways = [cell.strip() for cell in rows[0].strip("|").split("|")][2:]
    answer = {mark: said for said, mark in comparison.MARKS.items()}
    table: dict[str, dict[str, str]] = {way: {} for way in ways}
    for line in rows[2:]:
        name, _, *cells = (cell.strip() for cell in line[1:-1].split("|"))
        for way, cell in zip(ways, cells, strict=True):
            table[way][name.strip("`")] = answer[cell]
    return table


def test_the_gallery_is_as_its_page_says():
    assert page.PAGE.read_text("utf-8") == page.page()


def differing(page: dict[str, str], here: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Exhibits of which the page says otherwise; beside "near", another processor may say all."""
    assert page.keys() == here.keys()
    both = {name: (said, here[name]) for name, said in page.items()}
    return {n: (a, b) for n, (a, b) in both.items() if a != b and NEAR not in (a, b)}


@pytest.mark.parametrize("way", PLAIN)
def test_a_way_says_what_the_page_says(way):
    assert differing(written()[way], comparison.answers(PLAIN[way])) == {}


def test_near_a_limit_is_no_difference_and_across_it_is_one():
    page, here = dict(a=CONTENT, b=NEAR, c=FOUND), dict(a=NEAR, b=FOUND, c=FOUND)
    assert differing(page, here) == {}
    assert differing(page, here | dict(a=FOUND)) == {"a": (CONTENT, FOUND)}


def test_a_fixed_limit_says_nothing_that_another_processor_would_not():
    assert [limited(far) for far in (2e-7, 9e-7, 2e-6, 4e-6)] == [CONTENT, NEAR, NEAR, FOUND]
    assert limited(float("nan")) == FOUND


@pytest.mark.slow
@pytest.mark.parametrize("way", PACKAGES)
def test_a_package_says_what_the_page_says(way):
    if importlib.util.find_spec(way.replace("-", "_")) is None:
        pytest.skip(f"{way} is not installed (requirements/peers.txt)")
    assert written()[way] == comparison.answers(PACKAGES[way])


@pytest.mark.slow
def test_the_verifier_says_what_the_page_says():
    """Exhibits that are not in `OTHERWISE` are as labelled; another test holds that."""
    said = {
        name: verdict(name) if name in OTHERWISE else (exhibit.law, exhibit.kind)
        for name, exhibit in GALLERY.items()
    }
    found = {name: CONTENT if of == ("", "") else FOUND for name, of in said.items()}
    assert written()["trilby.check"] == found
    assert comparison.confusion(said) in comparison.PAGE.read_text("utf-8")


def test_the_counts_are_those_of_the_rows():
    text = comparison.PAGE.read_text("utf-8")
    assert [*written()] == COLUMNS
    for way, of in written().items():
        assert of.keys() == GALLERY.keys()
        [line] = [line for line in text.splitlines() if line.startswith(f"| {way} |")]
        wrong = sum(not e.right for e in GALLERY.values())
        missed = sum(said != FOUND for name, said in of.items() if not GALLERY[name].right)
        blamed = sum(said == FOUND for name, said in of.items() if GALLERY[name].right)
        assert f"| {missed} of {wrong} |" in line
        assert f"| {blamed} of {len(GALLERY) - wrong} |" in line


def test_a_method_accepts_some_and_rejects_some():
    for of in written().values():
        assert {FOUND, CONTENT} <= set(of.values())


@pytest.mark.parametrize("law", LAWS)
def test_the_page_of_a_law_names_its_causes_and_cites_what_the_gallery_cites(law):
    text = (page.PAGE.parent / "laws" / f"{law}.md").read_text("utf-8")
    parts = ["What breaks it in practice", "How it is tested", "Causes", "What it cannot find"]
    assert re.findall(r"^## (.*)$", text, re.M) == parts
    for exhibit in GALLERY.values():
        assert exhibit.law != law or f"*{exhibit.kind}*" in text
    known = {address for exhibit in GALLERY.values() for address in exhibit.source}
    assert set(re.findall(r"\]\((https://[^)]*)\)", text)) <= known
    named = set(re.findall(r"`([a-z_0-9]+)`", text)) & GALLERY.keys()
    assert {GALLERY[name].law for name in named} <= {law, "causal"}
